package resolver

import (
	"log/slog"

	"google.golang.org/grpc/attributes"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
)

// state makes the resolver state of usable endpoints or, without any, of the
// reason for that. It takes over the texts of the last addresses, which are those
// of the last endpoints.
func state(usable []discovery.Endpoint, reason error, last []discovery.Endpoint, lastAddresses []grpcresolver.Address) grpcresolver.State {
	s := grpcresolver.State{
		// Policies made with balancer/base read Addresses alone; the channel
		// derives Endpoints from Addresses, but not the other way round.
		Addresses: make([]grpcresolver.Address, len(usable)),
		Endpoints: make([]grpcresolver.Endpoint, len(usable)),
	}
	all := make([]attributes.Attributes, len(usable)) // one piece of memory instead of many
	for i := range usable {
		// Attributes of an Address would make gRPC reconnect at each change.
		all[i] = *attributes.New(endpointKey{}, endpointValue{&usable[i]})
		at := usable[i].Addr
		for len(last) > 0 && last[0].Addr.Compare(at) < 0 {
			last, lastAddresses = last[1:], lastAddresses[1:]
		}
		if len(last) > 0 && last[0].Addr == at {
			s.Addresses[i].Addr = lastAddresses[0].Addr
		} else {
			s.Addresses[i].Addr = at.String()
		}
		s.Endpoints[i] = grpcresolver.Endpoint{
			Addresses:  s.Addresses[i : i+1 : i+1],
			Attributes: &all[i],
		}
		if other := usable[i].AltAddr; other.IsValid() {
			// The same pod in the other family: to be connected to by whichever
			// leads there (gRFC A61). It is no address of the State's, where it would
			// count as another pod.
			s.Endpoints[i].Addresses = append(s.Endpoints[i].Addresses, grpcresolver.Address{Addr: other.String()})
		}
	}
	if reason != nil {
		s.Attributes = attributes.New(reasonKey{}, reason)
	}
	return s
}

// EndpointOf returns what discovery knows of an endpoint that a resolver of this
// package made. The result must not be changed. It is for load-balancing
// policies.
func EndpointOf(e grpcresolver.Endpoint) (*discovery.Endpoint, bool) {
	v, ok := e.Attributes.Value(endpointKey{}).(endpointValue)
	return v.endpoint, ok
}

// Unusable returns why a state that a resolver of this package made has no
// endpoints. It wraps discovery.ErrNoEndpoints, ErrServiceNotFound or
// ErrPortNotFound, and is nil if there are endpoints. It is for load-balancing
// policies.
func Unusable(s grpcresolver.State) error {
	err, _ := s.Attributes.Value(reasonKey{}).(error)
	return err
}

// ReportUnreachable tells the source of a state that a resolver of this package
// made that none of its endpoints can be reached: see
// [discovery.Subscription.Unreachable]. It does nothing for other states. It does
// not block, and is for load-balancing policies.
func ReportUnreachable(s grpcresolver.State) {
	if r, ok := s.Attributes.Value(reporterKey{}).(reporter); ok {
		r.Unreachable()
	}
}

// Logger returns the one of the Config of the resolver that made a state, or nil. It is
// for load-balancing policies.
func Logger(s grpcresolver.State) *slog.Logger {
	v, _ := s.Attributes.Value(loggerKey{}).(loggerValue)
	return v.Logger
}

type loggerKey struct{}

func (loggerKey) String() string { return "sidestep.logger" }

// A loggerValue is a Logger as a value of gRPC attributes.
type loggerValue struct{ *slog.Logger }

// String is for gRPC's logs.
func (loggerValue) String() string { return "set" }

type reporterKey struct{}

func (reporterKey) String() string { return "sidestep.reporter" }

// A reporter is a Subscription as a value of gRPC attributes.
type reporter struct{ *discovery.Subscription }

// String is for gRPC's logs.
func (r reporter) String() string { return r.Target().String() }

type endpointKey struct{}

func (endpointKey) String() string { return "sidestep.endpoint" }

type reasonKey struct{}

func (reasonKey) String() string { return "sidestep.unusable" }

// An endpointValue is an Endpoint as a value of gRPC attributes.
type endpointValue struct{ endpoint *discovery.Endpoint }

// Equal is what attributes compare their values by.
func (v endpointValue) Equal(o any) bool {
	other, ok := o.(endpointValue)
	return ok && v.endpoint.Equal(other.endpoint)
}

// String is for gRPC's logs.
func (v endpointValue) String() string { return v.endpoint.String() }
