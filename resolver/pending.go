package resolver

import (
	"fmt"
	"sync"
)

// waiting holds the resolvers of the process, as *nameResolver, that have no
// Snapshot yet, which is none of them in all but the first moments.
var waiting sync.Map

// Pending returns what a channel to target still waits for, or nil once it has
// had an answer. The target is in the form of [grpc.ClientConn.CanonicalTarget].
//
// All that gRPC says of a request whose deadline passed before the channel
// learned of any endpoint is "context deadline exceeded"; this is the rest. It
// is for interceptors, such as those of the package balancer/grpcbalancer.
//
// [grpc.ClientConn.CanonicalTarget]: https://pkg.go.dev/google.golang.org/grpc#ClientConn.CanonicalTarget
func Pending(target string) error {
	var pending error
	waiting.Range(func(key, _ any) bool {
		r := key.(*nameResolver)
		if r.text != target {
			return true
		}
		pending = fmt.Errorf("waiting for the endpoints of %s", r.subscription.Target())
		if err := r.subscription.View().Err; err != nil {
			pending = fmt.Errorf("%w: %w", pending, err)
		}
		return false
	})
	return pending
}
