package kube

import (
	"runtime"
	"testing"
	"weak"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// A crossing is the Service quiz, read by a feed of its own, and a wide feed that
// is about to take its place.
type crossing struct {
	state   *state
	alone   *sliceHandler
	stopped bool // the feed of its own
	wide    *wideSlices
}

func newCrossing() *crossing {
	c := &crossing{state: newState("quiz")}
	f := &feed{alone: true, stop: func() { c.stopped = true }}
	c.state.feedBy(f, endpointSlices, nil)
	c.alone = c.state.ofSlices(f)
	ns := newNamespace(&services{}, nil, kubeapi.Timing{}, "kiada")
	ns.services["quiz"] = &service{namespace: ns, state: c.state}
	c.wide = &wideSlices{wide: &wide{namespace: ns, feed: &feed{stop: func() {}}, kind: endpointSlices}}
	return c
}

func quizSlice(name, version, address string) *kubeapi.EndpointSlice {
	s := &kubeapi.EndpointSlice{Endpoints: []kubeapi.Endpoint{{Addresses: []string{address}}}}
	s.Name, s.ResourceVersion, s.Labels.ServiceName = name, version, "quiz"
	return s
}

func (c *crossing) wants(t *testing.T, address string, stopped bool) {
	t.Helper()
	if got := c.state.known.slices["a"].Endpoints[0].Addresses[0]; got != address || c.stopped != stopped {
		t.Errorf("%s, own feed stopped: %v; want %s, %v", got, c.stopped, address, stopped)
	}
}

func TestAServiceThatKnowsOtherwiseKeepsItsOwnWatchUntilBothAgree(t *testing.T) {
	c := newCrossing()
	c.alone.Replace([]*kubeapi.EndpointSlice{quizSlice("a", "7", "10.0.0.7")})
	c.wide.Replace([]*kubeapi.EndpointSlice{quizSlice("a", "6", "10.0.0.6")})
	c.wide.Apply(kubeapi.Modified, quizSlice("a", "6", "10.0.0.6"))
	c.wants(t, "10.0.0.7", false)
	c.wide.Replace(nil)
	c.wants(t, "10.0.0.7", false)

	c.wide.Replace([]*kubeapi.EndpointSlice{quizSlice("a", "8", "10.0.0.7")})
	c.wants(t, "10.0.0.7", true)
	c.alone.Apply(kubeapi.Modified, quizSlice("a", "5", "10.0.0.5")) // too late
	c.alone.Failed(errEarlierSlices)
	c.wants(t, "10.0.0.7", true)
	c.wide.Apply(kubeapi.Modified, quizSlice("a", "9", "10.0.0.9"))
	c.wants(t, "10.0.0.9", true)
	if err := c.state.readStates[endpointSlices].err; err != nil {
		t.Errorf("error %v", err)
	}
}

func TestAServiceThatIsCutOffGivesUpItsOwnWatch(t *testing.T) {
	c := newCrossing()
	c.alone.Replace([]*kubeapi.EndpointSlice{quizSlice("a", "7", "10.0.0.7")})
	c.alone.Failed(errEarlierSlices)
	c.wide.Replace([]*kubeapi.EndpointSlice{quizSlice("a", "8", "10.0.0.8")})
	c.wants(t, "10.0.0.8", true)
}

func TestSlicesOfServicesThatNobodyWatchesAreNotKept(t *testing.T) {
	c := newCrossing()
	other := func(hand func(*kubeapi.EndpointSlice)) weak.Pointer[kubeapi.EndpointSlice] {
		s := quizSlice("b", "7", "10.0.0.1")
		s.Labels.ServiceName = "other"
		hand(s)
		return weak.Make(s)
	}
	listed := other(func(s *kubeapi.EndpointSlice) {
		c.wide.Replace([]*kubeapi.EndpointSlice{quizSlice("a", "7", "10.0.0.7"), s})
	})
	added := other(func(s *kubeapi.EndpointSlice) { c.wide.Apply(kubeapi.Added, s) })
	runtime.GC()
	if listed.Value() != nil || added.Value() != nil || len(c.wide.of) != 1 {
		t.Errorf("kept %v and %v, slices known: %v", listed.Value(), added.Value(), c.wide.of)
	}
	c.wants(t, "10.0.0.7", true)
}
