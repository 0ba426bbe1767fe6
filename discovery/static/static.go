// Package static is the discovery source of fixed lists of addresses:
//
//	static:///10.0.0.5:8080,10.0.0.6:8080
//
// It is for tests, for addresses that something else keeps up to date, and for
// trying a policy without a cluster. It watches nothing and refuses no address:
// whoever writes the target chose it.
package static

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
)

// Source serves static targets. The zero value is ready to use.
type Source struct{}

// Watch implements discovery.Source. It reports once and returns.
func (Source) Watch(_ context.Context, target discovery.Target, r discovery.Receiver) {
	endpoints, err := parse(target)
	if err != nil {
		r.Error(err)
		return
	}
	r.Update(discovery.NewSnapshot(endpoints))
}

func parse(target discovery.Target) ([]discovery.Endpoint, error) {
	if target.Scheme != discovery.SchemeStatic {
		return nil, fmt.Errorf("%s: %w: the static source serves only static:/// targets", target, discovery.ErrUnavailable)
	}
	var endpoints []discovery.Endpoint
	for a := range strings.SplitSeq(target.Name, ",") {
		addr, err := netip.ParseAddrPort(a)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", target, discovery.ErrUnavailable, err)
		}
		e := discovery.Endpoint{Addr: addr, Ready: true, Serving: true}
		if !slices.ContainsFunc(endpoints, func(o discovery.Endpoint) bool { return o.Addr == e.Addr }) {
			endpoints = append(endpoints, e)
		}
	}
	return endpoints, nil
}
