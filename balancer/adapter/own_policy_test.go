package adapter_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// An ending is what an Observer is told.
type ending struct {
	backend *balancer.Backend
	outcome health.Outcome
	latency time.Duration
}

// own is a policy of a program's own that takes the first backend that is admitted.
type own struct {
	endings *[]ending
	foreign *balancer.Backend // is picked in its place, if set
}

type ownPicker struct {
	own
	backends []*balancer.Backend
}

func (o own) Picker(backends []*balancer.Backend) balancer.Picker { return ownPicker{o, backends} }

func (o own) Observe(b *balancer.Backend, outcome health.Outcome, latency time.Duration) {
	*o.endings = append(*o.endings, ending{b, outcome, latency})
}

func (p ownPicker) Pick(r balancer.Request) *balancer.Backend {
	if p.foreign != nil {
		return p.foreign
	}
	if i := slices.IndexFunc(p.backends, r.Admits); i >= 0 {
		return p.backends[i]
	}
	return nil
}

func newOwn(o own) balancer.Config {
	return balancer.Config{NewPolicy: func(func() uint64) balancer.Policy { return o }}
}

func TestAnObserverIsToldTheOutcomeAndLatencyOfEachRequestOnce(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name string
		end  func(p *adapter.Pick)
		want []ending
	}{
		{"an answer", func(p *adapter.Pick) { pass(3 * ms); p.Done(adapter.Result{Outcome: health.Success}) }, []ending{{nil, health.Success, 3 * ms}}},
		{"a failure", func(p *adapter.Pick) { pass(2 * ms); p.Done(adapter.Result{Outcome: health.Failure}) }, []ending{{nil, health.Failure, 2 * ms}}},
		{"after a dial", func(p *adapter.Pick) {
			pass(5 * ms)
			p.Sent()
			pass(ms)
			p.Done(adapter.Result{Outcome: health.Success})
		}, []ending{{nil, health.Success, ms}}},
		{"a long body", func(p *adapter.Pick) {
			pass(4 * ms)
			p.Answered(adapter.Result{Outcome: health.Success})
			pass(time.Second)
			p.Done(adapter.Result{Outcome: health.Neutral})
		}, []ending{{nil, health.Success, 4 * ms}}},
		{"a body that breaks off", func(p *adapter.Pick) {
			pass(4 * ms)
			p.Answered(adapter.Result{Outcome: health.Success})
			pass(time.Second)
			p.Done(adapter.Result{Outcome: health.Failure})
		}, []ending{{nil, health.Failure, 4 * ms}}},
		{"trailers", func(p *adapter.Pick) {
			pass(4 * ms)
			p.Responding()
			pass(time.Second)
			p.Done(adapter.Result{Outcome: health.Failure})
		}, []ending{{nil, health.Failure, 4 * ms}}},
		{"what never became a request", func(p *adapter.Pick) { pass(ms); p.Undo() }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []ending
			synctest.Test(t, func(t *testing.T) {
				b, err := adapter.New(newOwn(own{endings: &got}), adapter.Hooks{Connect: connect})
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				b.Update(endpoints(0, 1))
				pass(ms) // the clock begins at 0, which is no time
				p, err := b.Pick(adapter.Request{})
				if err != nil {
					t.Fatal(err)
				}
				c.end(&p)
				for i := range got {
					if got[i].backend.Endpoint() != p.Backend().Endpoint() {
						t.Errorf("told of %v", got[i].backend.Endpoint())
					}
					got[i].backend = nil
				}
			})
			if !slices.Equal(got, c.want) {
				t.Errorf("told %v, want %v", got, c.want)
			}
		})
	}
}

func TestAPolicyOfOnesOwnKeepsABackendThroughUpdatesAndIsPassedOverTheUnfit(t *testing.T) {
	var got []ending
	b := must(t, newOwn(own{endings: &got}))
	b.Update(endpoints(0, 2))
	first := func(want health.Outcome) *balancer.Backend {
		p, err := b.Pick(adapter.Request{})
		if err != nil {
			t.Fatal(err)
		}
		p.Done(adapter.Result{Outcome: want})
		return got[len(got)-1].backend
	}
	one := first(health.Success)
	b.Update(endpoints(0, 3))
	b.Update(endpoints(0, 2))
	if again := first(health.Unreachable); again.Endpoint().Addr == one.Endpoint().Addr && again != one {
		t.Error("the same endpoint is another Backend after updates")
	}
	unreachable := got[len(got)-1].backend
	if unreachable.Fit() {
		t.Error("a backend that cannot be reached is fit")
	}
	if next := first(health.Success); next == unreachable {
		t.Error("a backend that cannot be reached was picked")
	}
}

func TestAPolicyThatPicksWhatItWasNotGivenIsNotObeyed(t *testing.T) {
	var got []ending
	other := must(t, newOwn(own{endings: &got}))
	other.Update(endpoints(5, 1))
	p, err := other.Pick(adapter.Request{})
	if err != nil {
		t.Fatal(err)
	}
	p.Done(adapter.Result{Outcome: health.Success})
	for _, foreign := range []*balancer.Backend{got[0].backend, {}} {
		b := must(t, newOwn(own{endings: &got, foreign: foreign}))
		b.Update(endpoints(0, 1))
		p, err := b.Pick(adapter.Request{})
		if err != nil {
			t.Fatal(err)
		}
		if at := p.Backend().Endpoint().Addr; at != endpoints(0, 1)[0].Addr {
			t.Errorf("picked %s", at)
		}
		p.Undo()
	}
}

func TestAPolicyOfOnesOwnThatIsNilIsAnError(t *testing.T) {
	config := balancer.Config{NewPolicy: func(func() uint64) balancer.Policy { return nil }}
	if _, err := adapter.New(config, adapter.Hooks{Connect: connect}); err == nil {
		t.Error("no error")
	}
}

func must(t *testing.T, config balancer.Config) *adapter.Balancer {
	t.Helper()
	b, err := adapter.New(config, adapter.Hooks{Connect: connect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// quiet is a policy of a program's own that observes nothing.
type quiet struct{ policy own }

func (q quiet) Picker(backends []*balancer.Backend) balancer.Picker { return q.policy.Picker(backends) }

func TestThePickByAPolicyOfOnesOwnAllocatesNothing(t *testing.T) {
	b := must(t, balancer.Config{NewPolicy: func(func() uint64) balancer.Policy { return quiet{} }})
	b.Update(endpoints(0, 100))
	if n := testing.AllocsPerRun(1000, func() {
		p, _ := b.Pick(adapter.Request{})
		p.Done(adapter.Result{Outcome: health.Success})
	}); n != 0 {
		t.Errorf("%v allocations per pick", n)
	}
}
