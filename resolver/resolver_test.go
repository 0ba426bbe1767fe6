package resolver_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gbalancer "google.golang.org/grpc/balancer"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/discovery/topology"
	"github.com/sidestep-lb/sidestep/resolver"
)

const quiz = "k8s:///quiz.kiada:grpc"

func TestStateHoldsEachEndpointAsAddressAndAsEndpoint(t *testing.T) {
	one, two := ready("10.0.0.1:80"), ready("[fd00::2]:80")
	one.Pod = "quiz-0"
	cc := newChannel()
	build(t, cc, quiz, resolver.Config{Source: newSource(one, two)})
	s := cc.state(t)
	if got, want := addresses(s), []string{"10.0.0.1:80", "[fd00::2]:80"}; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
	if len(s.Endpoints) != 2 {
		t.Fatalf("%d endpoints, want 2", len(s.Endpoints))
	}
	for i, want := range []discovery.Endpoint{one, two} {
		e, ok := resolver.EndpointOf(s.Endpoints[i])
		if !ok || !e.Equal(&want) {
			t.Errorf("endpoint %d is %v, want %v", i, e, &want)
		}
		if a := s.Endpoints[i].Addresses; len(a) != 1 || !a[0].Equal(s.Addresses[i]) || a[0].Attributes != nil {
			t.Errorf("endpoint %d has addresses %v, want %v alone", i, a, s.Addresses[i])
		}
	}
	if err := resolver.Unusable(s); err != nil {
		t.Errorf("a state with endpoints has a reason for having none: %v", err)
	}
}

func TestAPodOfTwoFamiliesIsOneEndpointWithTwoAddresses(t *testing.T) {
	both, one := ready("10.0.0.1:80"), ready("10.0.0.2:80")
	both.AltAddr = netip.MustParseAddrPort("[fd00::1]:80")
	cc := newChannel()
	build(t, cc, "k8s:///quiz.kiada:80", resolver.Config{Source: newSource(both, one)})
	s := cc.state(t)
	if len(s.Endpoints) != 2 || len(s.Addresses) != 2 {
		t.Fatalf("%d endpoints, %d addresses; want 2 each", len(s.Endpoints), len(s.Addresses))
	}
	if a := s.Endpoints[0].Addresses; len(a) != 2 || a[0].Addr != "10.0.0.1:80" || a[1].Addr != "[fd00::1]:80" {
		t.Errorf("the addresses of the first endpoint are %v", a)
	}
	if a := s.Endpoints[1].Addresses; len(a) != 1 || a[0].Addr != "10.0.0.2:80" {
		t.Errorf("the addresses of the second endpoint are %v", a)
	}
}

func TestAttributesOfTheSameEndpointAreEqual(t *testing.T) {
	states := [3]grpcresolver.State{}
	for i, e := range []discovery.Endpoint{ready("10.0.0.1:80"), ready("10.0.0.1:80"), ready("10.0.0.2:80")} {
		cc := newChannel()
		build(t, cc, quiz, resolver.Config{Source: newSource(e)})
		states[i] = cc.state(t)
	}
	a := states[0].Endpoints[0].Attributes
	if !a.Equal(states[1].Endpoints[0].Attributes) {
		t.Error("attributes of equal endpoints differ")
	}
	if a.Equal(states[2].Endpoints[0].Attributes) {
		t.Error("attributes of different endpoints are equal")
	}
	if !strings.Contains(a.String(), "10.0.0.1:80") {
		t.Errorf("the attributes read %s", a)
	}
}

func TestAnotherResolversEndpointIsNotOurs(t *testing.T) {
	if e, ok := resolver.EndpointOf(grpcresolver.Endpoint{}); ok || e != nil {
		t.Errorf("got %v, %v", e, ok)
	}
}

func TestOnlyEndpointsThatTheClientMayUseAreDelivered(t *testing.T) {
	near, far, starting := ready("10.0.0.1:80"), ready("10.0.0.2:80"), ready("10.0.0.3:80")
	near.Hints.Zones = []string{"a"}
	far.Hints.Zones = []string{"b"}
	starting.Ready = false
	cc := newChannel()
	build(t, cc, quiz, resolver.Config{Source: newSource(near, far, starting), Selection: selection.Config{Locality: topology.Locality{Zone: "b"}}})
	if got, want := addresses(cc.state(t)), []string{"10.0.0.2:80"}; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
}

func TestTheOwnNodeComesFromTheDownwardAPIAndItsZoneFromTheEndpoints(t *testing.T) {
	t.Setenv("SIDESTEP_NODE", "node-7")
	here, near, far := ready("10.0.0.1:80"), ready("10.0.0.2:80"), ready("10.0.0.3:80")
	here.Node, here.Zone = "node-7", "b"
	here.Hints.Zones, near.Hints.Zones, far.Hints.Zones = []string{"b"}, []string{"b"}, []string{"a"}
	cc := newChannel()
	build(t, cc, quiz, resolver.Config{Source: newSource(here, near, far)})
	if got, want := addresses(cc.state(t)), []string{"10.0.0.1:80", "10.0.0.2:80"}; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
}

func TestSubsetIsOfTheGivenSizeAndStable(t *testing.T) {
	var all []discovery.Endpoint
	for i := range 50 {
		all = append(all, ready(fmt.Sprintf("10.0.0.%d:80", i+1)))
	}
	var first []string
	for range 2 {
		cc := newChannel()
		build(t, cc, quiz, resolver.Config{Source: newSource(slices.Clone(all)...), Selection: selection.Config{SubsetSize: 7}})
		got := addresses(cc.state(t))
		if len(got) != 7 {
			t.Fatalf("%d endpoints, want 7", len(got))
		}
		if first != nil && !slices.Equal(first, got) {
			t.Errorf("the second client of this host got %v, the first %v", got, first)
		}
		first = got
	}
}

func TestChangeThatTheChannelNeedNotKnowIsNotDelivered(t *testing.T) {
	source := newSource(ready("10.0.0.1:80"))
	cc := newChannel()
	build(t, cc, quiz, resolver.Config{Source: source})
	cc.state(t)

	starting := ready("10.0.0.2:80")
	starting.Ready, starting.Serving = false, false
	source.set(ready("10.0.0.1:80"), starting)
	cc.quiet(t)

	starting.Ready, starting.Serving = true, true
	source.set(ready("10.0.0.1:80"), starting)
	if got := addresses(cc.state(t)); len(got) != 2 {
		t.Errorf("addresses %v, want two", got)
	}
}

func TestNoUsableEndpointIsDeliveredWithItsReason(t *testing.T) {
	starting := ready("10.0.0.1:80")
	starting.Ready, starting.Serving = false, false
	for name, test := range map[string]struct {
		snapshot *discovery.Snapshot
		want     error
	}{
		"no pods":         {discovery.NewSnapshot(nil), discovery.ErrNoEndpoints},
		"none ready":      {discovery.NewSnapshot([]discovery.Endpoint{starting}), discovery.ErrNoEndpoints},
		"no such service": {&discovery.Snapshot{Reason: fmt.Errorf("quiz: %w", discovery.ErrServiceNotFound)}, discovery.ErrServiceNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			source := newSource()
			source.update(test.snapshot)
			cc := newChannel()
			cc.answer = gbalancer.ErrBadResolverState // as every policy does
			build(t, cc, quiz, resolver.Config{Source: source})
			s := cc.state(t)
			if len(s.Addresses) != 0 || len(s.Endpoints) != 0 || s.Endpoints == nil {
				t.Errorf("the state is not empty: %v", s)
			}
			if err := resolver.Unusable(s); !errors.Is(err, test.want) || !strings.Contains(err.Error(), "quiz") {
				t.Errorf("the reason is %v, want %v", err, test.want)
			}
			if err := cc.error(t); !errors.Is(err, test.want) {
				t.Errorf("policies that do not know the attribute are told %v, want %v", err, test.want)
			}
		})
	}
}

func TestErrorsAfterTheFirstAnswerAreNotTheChannelsBusiness(t *testing.T) {
	source := newSource(ready("10.0.0.1:80"))
	cc := newChannel()
	build(t, cc, quiz, resolver.Config{Source: source})
	cc.state(t)
	source.fail(errOutage)
	source.fail(fmt.Errorf("quiz: %w", discovery.ErrForbidden))
	source.set(ready("10.0.0.1:80"))
	cc.quiet(t)
}

func TestPermanentErrorBeforeTheFirstAnswerIsReportedAtOnce(t *testing.T) {
	source := newSource()
	cc := newChannel()
	build(t, cc, quiz, resolver.Config{Source: source})
	source.fail(fmt.Errorf("list endpointslices in kiada: %w", discovery.ErrForbidden))
	if err := cc.error(t); !errors.Is(err, discovery.ErrForbidden) {
		t.Errorf("reported %v", err)
	}
	source.set(ready("10.0.0.1:80"))
	if got := addresses(cc.state(t)); len(got) != 1 {
		t.Errorf("addresses %v after the Role was added", got)
	}
}

func TestPendingSaysWhatAChannelWaitsFor(t *testing.T) {
	source := newSource()
	cc := newChannel()
	r := build(t, cc, quiz, resolver.Config{Source: source})
	if err := resolver.Pending(quiz); err == nil || !strings.Contains(err.Error(), "waiting for the endpoints of "+quiz) {
		t.Errorf("before anything is known: %v", err)
	}
	source.fail(errOutage)
	for deadline := time.Now().Add(patience); !errors.Is(resolver.Pending(quiz), errOutage); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a failure that may pass: %v", resolver.Pending(quiz))
		}
	}
	cc.quiet(t)
	if err := resolver.Pending("k8s:///other.kiada:grpc"); err != nil {
		t.Errorf("of another target: %v", err)
	}
	source.set(ready("10.0.0.1:80"))
	cc.state(t)
	if err := resolver.Pending(quiz); err != nil {
		t.Errorf("after the first answer: %v", err)
	}
	r.Close()
	build(t, cc, quiz, resolver.Config{Source: newSource()}).Close()
	if err := resolver.Pending(quiz); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestResolveNowHintsTheSource(t *testing.T) {
	source := newSource(ready("10.0.0.1:80"))
	cc := newChannel()
	r := build(t, cc, quiz, resolver.Config{Source: source})
	cc.state(t)
	for range 1000 { // never blocks
		r.ResolveNow(grpcresolver.ResolveNowOptions{})
	}
	select {
	case <-source.refreshes:
	case <-time.After(patience):
		t.Error("the hint did not arrive")
	}
}

func TestNothingIsCalledAfterClose(t *testing.T) {
	for range 50 {
		source := newSource(ready("10.0.0.1:80"))
		cc := newChannel()
		r := build(t, cc, quiz, resolver.Config{Source: source})
		r.Close()
		r.Close()
		heard := len(cc.states)
		source.set()
		source.fail(discovery.ErrForbidden)
		r.ResolveNow(grpcresolver.ResolveNowOptions{})
		if len(cc.states) != heard || len(cc.errors) != 0 {
			t.Fatal("the resolver went on after Close")
		}
	}
}

func TestChannelsShareOneWatch(t *testing.T) {
	source := newSource(ready("10.0.0.1:80"))
	one, two := newChannel(), newChannel()
	r := build(t, one, quiz, resolver.Config{Source: source})
	build(t, two, quiz, resolver.Config{Source: source, Selection: selection.Config{SubsetSize: 5}})
	one.state(t)
	two.state(t)
	r.Close()
	source.set(ready("10.0.0.2:80"))
	if got := addresses(two.state(t)); !slices.Equal(got, []string{"10.0.0.2:80"}) {
		t.Errorf("the channel that is left got %v", got)
	}
	if source.runs != 1 {
		t.Errorf("the source was run %d times", source.runs)
	}
}
