// Package outages holds tests of what a request sees while the API server, DNS or
// both cannot be asked, with HTTP and with gRPC, with and without a deadline. The
// table in docs/operating.md says what they show.
package outages
