package health_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

// row is the conduct of a backend whose last n requests have failed, and before them
// that many of all it had in the window.
func row(n, good, bad int) health.Conduct {
	g, b := uint32(good), uint32(bad+n)
	return health.Conduct{Row: n, Good: g, Bad: b, RecentGood: g, RecentBad: b}
}

// mixed is the conduct of a backend that fails now and then.
func mixed(good, bad int) health.Conduct { return row(0, good, bad) }

func late(c health.Conduct) health.Conduct {
	c.Late = c.Row
	return c
}

func rest(of ...health.Conduct) *health.Rest {
	var r health.Rest
	for _, c := range of {
		r.Add(c)
	}
	return &r
}

func times(n int, c health.Conduct) []health.Conduct {
	all := make([]health.Conduct, n)
	for i := range all {
		all[i] = c
	}
	return all
}

func TestABackendIsWorseThanTheRestWhereChanceDoesNotExplainIt(t *testing.T) {
	clean := health.Conduct{}
	for _, test := range []struct {
		name   string
		cause  health.Cause
		own    health.Conduct
		others []health.Conduct
		worse  bool
	}{
		{"five failures in a row beside one that is clean", health.Consecutive, row(5, 0, 0), times(1, clean), true},
		{"five failures in a row beside two that are clean", health.Consecutive, row(5, 0, 0), times(2, clean), true},
		{"five failures in a row beside nine that are clean", health.Consecutive, row(5, 0, 0), times(9, clean), true},
		{"five failures in a row after many successes", health.Consecutive, row(5, 900, 0), times(9, clean), true},
		{"five failures in a row beside 1 % of noise", health.Consecutive, row(5, 0, 0), times(9, mixed(99, 1)), true},
		{"five failures in a row beside 15 % of noise", health.Consecutive, row(5, 85, 15), times(9, mixed(85, 15)), false},
		{"twelve failures in a row beside 15 % of noise", health.Consecutive, row(12, 85, 15), times(9, mixed(85, 15)), true},
		{"all fail", health.Consecutive, row(5, 0, 0), times(9, row(4, 0, 0)), false},
		{"all others are suspects", health.Consecutive, row(5, 0, 0), times(9, row(5, 0, 0)), false},
		{"six others are suspects, and three are clean", health.Consecutive, row(5, 0, 0), append(times(6, row(5, 0, 0)), times(3, clean)...), true},
		{"all run out of time", health.Consecutive, late(row(5, 0, 0)), times(9, late(row(4, 0, 0))), false},
		{"half of the requests run out of time everywhere", health.Consecutive, late(row(9, 50, 50)), times(9, late(row(1, 50, 50))), false},
		{"it is the only one", health.Consecutive, row(5, 0, 0), nil, true},
		{"half of its requests fail beside others that are clean", health.SuccessRate, mixed(10, 10), times(2, clean), true},
		{"half of its requests fail beside 1 % of noise", health.SuccessRate, mixed(20, 20), times(9, mixed(99, 1)), true},
		{"a fourth fails everywhere", health.SuccessRate, mixed(75, 25), times(9, mixed(75, 25)), false},
		{"a third fails beside others with a fourth", health.SuccessRate, mixed(67, 33), times(9, mixed(75, 25)), false},
		{"it fails less than the others", health.SuccessRate, mixed(75, 25), times(9, mixed(50, 50)), false},
		{"there is no cause", health.NoCause, row(50, 0, 0), times(9, clean), false},
	} {
		if got := rest(test.others...).Worse(test.cause, test.own); got != test.worse {
			t.Errorf("%s: worse %t", test.name, got)
		}
	}
}

func TestAFailureIsUnusualWhereNoOtherBackendHasOne(t *testing.T) {
	clean := health.Conduct{}
	for _, test := range []struct {
		name    string
		own     health.Conduct
		others  []health.Conduct
		unusual bool
	}{
		{"its first failure, beside others that are clean", row(1, 0, 0), times(4, clean), true},
		{"its first failure, and there are no others", row(1, 0, 0), nil, true},
		{"a failure where others have some", row(1, 90, 9), append(times(3, clean), mixed(99, 1)), false},
		{"many failures in a row where others have some", row(9, 90, 9), append(times(3, clean), mixed(99, 1)), true},
		{"all others are suspects", row(9, 0, 0), times(4, row(5, 0, 0)), false},
	} {
		if got := rest(test.others...).Unusual(test.own); got != test.unusual {
			t.Errorf("%s: unusual %t", test.name, got)
		}
	}
}

func TestWhatWasRemovedFromTheRestDoesNotCount(t *testing.T) {
	own := row(5, 0, 0)
	for _, c := range []health.Conduct{{}, mixed(10, 90), row(5, 0, 0)} {
		r := rest(append(times(3, health.Conduct{}), c)...)
		r.Remove(c)
		if !r.Worse(health.Consecutive, own) || !r.Unusual(own) {
			t.Errorf("%+v still counts", c)
		}
	}
}

func TestABackendWorksIfAFourthSucceedsOrItsFailuresAreTimeouts(t *testing.T) {
	for _, test := range []struct {
		name  string
		c     health.Conduct
		works bool
	}{
		{"no failures", health.Conduct{}, true},
		{"nothing but failures", row(5, 0, 0), false},
		{"nothing but timeouts", late(row(5, 0, 0)), true},
		{"a fourth succeeds", mixed(25, 75), true},
		{"a tenth succeeds", mixed(10, 90), false},
		{"half of the row are timeouts", health.Conduct{Row: 6, Late: 3, Bad: 6}, true},
		{"a third of the row are timeouts", health.Conduct{Row: 6, Late: 2, Bad: 6}, false},
	} {
		if got := test.c.Works(); got != test.works {
			t.Errorf("%s: works %t", test.name, got)
		}
	}
}

// A fleet is backends that are judged beside each other.
type fleet struct {
	logs    []*log
	out     []time.Duration // until when
	ejected []int           // how often
	percent int             // that may be out at once
}

func newFleet(n int) *fleet {
	f := &fleet{out: make([]time.Duration, n), ejected: make([]int, n), percent: 50}
	for range n {
		f.logs = append(f.logs, &log{clock: time.Hour})
	}
	return f
}

// observe takes note of an outcome of backend i, and ejects it for a second if it does
// worse than the others. It reports whether it does.
func (f *fleet) observe(i int, clock time.Duration, o health.Outcome) bool {
	own := f.logs[i]
	own.clock = clock
	cause := own.Observe(o, own.now)
	if cause == health.NoCause {
		return false
	}
	var others health.Rest
	out := 0
	for k, other := range f.logs {
		if clock < f.out[k] {
			out++
		} else if k != i {
			others.Add(other.Conduct(int64(clock)))
		}
	}
	if 100*(out+1) > f.percent*len(f.logs) || !others.Worse(cause, own.Conduct(int64(clock))) {
		return false
	}
	f.ejected[i]++
	f.out[i] = clock + time.Second
	own.Eject(int64(clock), rand.Uint64)
	own.Readmit(int64(f.out[i]))
	return true
}

func (f *fleet) total() (n int) {
	for _, k := range f.ejected {
		n += k
	}
	return n
}

// drive makes n requests at random to those that are not out, and returns after how
// many the first one was ejected, or 0.
func (f *fleet) drive(random *rand.Rand, n int, every time.Duration, outcome func(i int) health.Outcome) (first int) {
	clock := f.logs[0].clock
	for k := range n {
		clock += every
		i := random.IntN(len(f.logs))
		for clock < f.out[i] {
			i = random.IntN(len(f.logs))
		}
		if f.observe(i, clock, outcome(i)) && first == 0 {
			first = k + 1
		}
	}
	return first
}

func noise(random *rand.Rand, percent int, bad health.Outcome) func(int) health.Outcome {
	return func(int) health.Outcome {
		if random.IntN(100) < percent {
			return bad
		}
		return health.Success
	}
}

// By chance one in 50 runs has an ejection, at 15 %: a row of nine or so, of which the
// others' failures give one in a million, may begin at each of 100,000 requests.
func TestNoiseThatAllShareEjectsNobody(t *testing.T) {
	for _, test := range []struct {
		percent int
		bad     health.Outcome
		every   time.Duration
	}{
		{1, health.Failure, time.Millisecond},
		{5, health.Failure, time.Millisecond},
		{10, health.Failure, time.Millisecond},
		{15, health.Failure, time.Millisecond},
		{15, health.Failure, 200 * time.Microsecond},
		{10, health.Timeout, time.Millisecond},
		{15, health.Timeout, time.Millisecond},
	} {
		f, random := newFleet(10), rand.New(rand.NewPCG(uint64(test.percent), 1))
		f.drive(random, 100_000, test.every, noise(random, test.percent, test.bad))
		if n := f.total(); n > 1 {
			t.Errorf("%d %% of the requests, one every %v, end in %v: there were %d ejections", test.percent, test.every, test.bad, n)
		}
	}
}

// dead is what becomes of requests where the first n backends fail all of them.
func dead(n int, bad health.Outcome) func(int) health.Outcome {
	return func(i int) health.Outcome {
		if i < n {
			return bad
		}
		return health.Success
	}
}

func TestADeadBackendIsEjectedAtItsFifthFailure(t *testing.T) {
	for _, bad := range []health.Outcome{health.Failure, health.Timeout, health.Unreachable} {
		for _, n := range []int{2, 3, 10} {
			f := newFleet(n)
			for k := 1; ; k++ {
				for i := 1; i < n; i++ {
					f.observe(i, time.Hour, health.Success)
				}
				if out := f.observe(0, time.Hour, bad); out != (k == 5) {
					t.Errorf("%v, one of %d: at failure %d ejected %t", bad, n, k, out)
				}
				if k == 5 {
					break
				}
			}
		}
	}
}

func TestOfSevenDeadBackendsOfTenAsManyAreEjectedAsMayBe(t *testing.T) {
	for percent, want := range map[int]int{50: 5, 70: 7, 90: 7} {
		f := newFleet(10)
		f.percent = percent
		f.drive(rand.New(rand.NewPCG(1, 1)), 150, time.Millisecond, dead(7, health.Failure)) // before one is back
		n := 0
		for i, k := range f.ejected {
			if n += k; k > 0 && i >= 7 {
				t.Errorf("at most %d %% out: one that works is ejected", percent)
			}
		}
		if n != want {
			t.Errorf("at most %d %% out: %d are ejected, want %d", percent, n, want)
		}
	}
}

func TestWhereAllFailNobodyIsEjected(t *testing.T) {
	for _, bad := range []health.Outcome{health.Failure, health.Timeout, health.Unreachable} {
		for _, n := range []int{2, 3, 10} {
			f := newFleet(n)
			f.percent = 100
			for k := range 100 { // in turn, or who fails first is alone with it
				for i := range n {
					f.observe(i, time.Hour+time.Duration(k)*10*time.Millisecond, bad)
				}
			}
			if f.total() != 0 {
				t.Errorf("%v: of %d backends that all fail, %d were ejected", bad, n, f.total())
			}
		}
	}
}

func TestOneThatFailsHalfOfItsRequestsIsEjectedWithinTens(t *testing.T) {
	for _, others := range []int{0, 1, 5} { // % of noise
		for seed := range uint64(20) {
			f, random := newFleet(3), rand.New(rand.NewPCG(seed, 2))
			of := 0 // requests of the bad one
			f.drive(random, 3000, time.Millisecond, func(i int) health.Outcome {
				share := others
				if i == 0 {
					share = 50
					if f.ejected[0] == 0 {
						of++
					}
				}
				if random.IntN(100) < share {
					return health.Failure
				}
				return health.Success
			})
			if f.ejected[0] == 0 || of > 60 {
				t.Errorf("beside %d %% of noise: after %d requests ejected %d times", others, of, f.ejected[0])
			}
			if n := f.ejected[1] + f.ejected[2]; n > 0 {
				t.Errorf("beside %d %% of noise: of the good ones, %d were ejected", others, n)
			}
		}
	}
}
