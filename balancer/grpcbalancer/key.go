package grpcbalancer

import (
	"strings"

	"google.golang.org/grpc"
)

// Key returns an option for a call that belongs together with all others of the
// same key: by the policies ring_hash and maglev they go to the same backend, see
// [balancer.WithKey], which does the same for all calls with a context. The option
// goes before that, and both before an entry of the metadata that Config.HashKey
// names. It needs the interceptors of DialOptions; an empty key is none.
func Key(key string) grpc.CallOption { return keyOption{text: key} }

type keyOption struct {
	grpc.EmptyCallOption
	text string
}

// joined is how several values of an entry make one key (gRFC A76).
func joined(values []string) string { return strings.Join(values, ",") }
