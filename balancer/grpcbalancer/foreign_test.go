package grpcbalancer_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/credentials/insecure"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

type attributeKey struct{}

func TestWhatMakesAnAddressOfAnotherResolverANewOne(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	at := func(addr, serverName, attribute string) grpcresolver.Address {
		address := grpcresolver.Address{Addr: addr, ServerName: serverName}
		if attribute != "" {
			address.Attributes = attributes.New(attributeKey{}, attribute)
		}
		return address
	}
	first, second := a.addr.String(), b.addr.String()
	one := func(addresses ...grpcresolver.Address) grpcresolver.State {
		return grpcresolver.State{Endpoints: []grpcresolver.Endpoint{{Addresses: addresses}}}
	}
	two := func(x, y grpcresolver.Address) grpcresolver.State {
		return grpcresolver.State{Endpoints: []grpcresolver.Endpoint{{Addresses: []grpcresolver.Address{x}}, {Addresses: []grpcresolver.Address{y}}}}
	}
	plain := at(first, "", "")
	withBalancerAttributes := plain
	withBalancerAttributes.BalancerAttributes = attributes.New(attributeKey{}, "weight") //nolint:staticcheck // resolvers still set them
	ofEndpoint := one(plain)
	ofEndpoint.Endpoints[0].Attributes = attributes.New(attributeKey{}, "zone")
	for _, c := range []struct {
		name          string
		before, after grpcresolver.State
		want          int32 // connections of a
	}{
		{"nothing", one(plain), one(plain), 1},
		{"another ServerName", one(at(first, "x", "")), one(at(first, "y", "")), 2},
		{"other Attributes", one(at(first, "", "x")), one(at(first, "", "y")), 2},
		{"equal Attributes", one(at(first, "", "x")), one(at(first, "", "x")), 1},
		{"other BalancerAttributes", one(plain), one(withBalancerAttributes), 1},
		{"Attributes of the endpoint", one(plain), ofEndpoint, 1},
		{"the order of endpoints", two(plain, at(second, "", "")), two(at(second, "", ""), plain), 1},
		{"the order of an endpoint's addresses", one(plain, at(second, "", "")), one(at(second, "", ""), plain), 1},
		{"an address twice", one(plain), two(plain, plain), 1},
		{"another ServerName beside it", one(plain), two(plain, at(first, "x", "")), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			names := manual.NewBuilderWithScheme("manual")
			names.InitialState(c.before)
			conn := newClient(t, "manual:///quiz", append(grpcbalancer.DialOptions(roundRobin),
				grpc.WithResolvers(names), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
			made := a.accepted.Load()
			mustAsk(t, conn, 1)
			names.UpdateState(c.after)
			eventually(t, "the connections are made", func() bool {
				mustAsk(t, conn, 1)
				return a.accepted.Load() >= made+c.want
			})
			mustAsk(t, conn, 50)
			if n := a.accepted.Load() - made; n != c.want {
				t.Errorf("%d connections, want %d", n, c.want)
			}
		})
	}
}
