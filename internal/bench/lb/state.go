package lb

import (
	"context"
	"net/netip"
	"net/url"
	"sync"

	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

// endpoints returns so many endpoints.
func endpoints(n int) []discovery.Endpoint {
	made := make([]discovery.Endpoint, n)
	for i := range made {
		made[i] = endpoint(i)
	}
	return made
}

func endpoint(number int) discovery.Endpoint {
	addr := netip.AddrFrom4([4]byte{10, byte(number >> 16), byte(number >> 8), byte(number)})
	return discovery.Endpoint{Addr: netip.AddrPortFrom(addr, 8080), Ready: true, Serving: true}
}

// stateOf returns what sidestep's name resolver hands to a channel for these
// endpoints. All policies get the same.
func stateOf(endpoints []discovery.Endpoint) (grpcresolver.State, error) {
	builder := resolver.NewBuilder("k8s", resolver.Config{Source: &fixed{endpoints}})
	heard := &listener{heard: make(chan struct{})}
	target := grpcresolver.Target{URL: url.URL{Scheme: builder.Scheme(), Path: "/quiz.kiada:80"}}
	r, err := builder.Build(target, heard, grpcresolver.BuildOptions{})
	if err != nil {
		return grpcresolver.State{}, err
	}
	defer r.Close()
	<-heard.heard
	return heard.state, nil
}

// A fixed list of endpoints is a source.
type fixed struct{ endpoints []discovery.Endpoint }

// Watch implements discovery.Source.
func (f *fixed) Watch(_ context.Context, _ discovery.Target, r discovery.Receiver) {
	r.Update(discovery.NewSnapshot(f.endpoints))
}

// A listener stands in for the channel that a resolver informs. It keeps the
// first state.
type listener struct {
	once  sync.Once
	heard chan struct{} // closed once there is a state
	state grpcresolver.State
}

// UpdateState implements resolver.ClientConn.
func (l *listener) UpdateState(s grpcresolver.State) error {
	l.once.Do(func() {
		l.state = s
		close(l.heard)
	})
	return nil
}

// ReportError implements resolver.ClientConn.
func (l *listener) ReportError(error) {}

// NewAddress implements resolver.ClientConn.
func (l *listener) NewAddress([]grpcresolver.Address) {}

// ParseServiceConfig implements resolver.ClientConn.
func (l *listener) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }
