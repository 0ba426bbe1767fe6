package grpcbalancer

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/sidestep-lb/sidestep/balancer"
)

var errCookie = errors.New("balancer config: hashKey.cookie: gRPC has no cookies; want header")

// request returns what the Balancer has to know of a request with this context.
//
// A key of balancer.WithKey costs nothing. One in the metadata costs a copy of
// them, since gRPC v1.84 has no other way to read them.
func (p *pool) request(ctx context.Context) (r balancer.Request) {
	if !p.balancer.Keyed() {
		return r
	}
	r.Key, r.HasKey = balancer.KeyFrom(ctx)
	if !r.HasKey && p.header != "" {
		md, _ := metadata.FromOutgoingContext(ctx)
		r.SetKey(strings.Join(md[p.header], ","))
	}
	return r
}
