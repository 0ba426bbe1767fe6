// Package interplay has no code but tests: that httpbalancer works with what
// programs put around an http.RoundTripper. They are in this module for their
// dependencies.
package interplay
