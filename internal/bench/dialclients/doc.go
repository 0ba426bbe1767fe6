// Package dialclients has no code but tests: that what docs/dial.md says of go-redis,
// rueidis, pgx, database/sql and nats.go is true of these clients, with Redis and NATS
// as they are and servers that speak PostgreSQL's protocol as the pods of a Service,
// which come and go.
//
// A server that is not installed is skipped.
package dialclients
