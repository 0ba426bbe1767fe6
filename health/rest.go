package health

import "math"

// A Conduct is what a [Record] holds against a backend: its failures in a row, and
// its successes and failures in the last ten seconds and in the last three.
// Successes count from the first failure on.
type Conduct struct {
	Row                   int
	Late                  int // of the row, those that ran out of time
	Good, Bad             uint32
	RecentGood, RecentBad uint32
	Fresh                 bool // it came back a moment ago, so there is little in its record
}

// Works reports whether the backend does some of its work: a quarter of its requests
// succeed, or most of those in the row ran out of time, as they do at a backend that is
// overloaded. Where the others are overloaded, such a backend is better than none.
func (c Conduct) Works() bool { return 3*c.Good >= c.Bad || c.Row > 0 && 2*c.Late >= c.Row }

// A Rest is what the other backends of a target did at the same time. A backend is
// judged beside them, because a failure that all share (a broken route, a database
// that is slow, a caller with little patience) is not the fault of one, and to eject
// some would only add to the load of the others. gRFC A50 and Envoy's success-rate
// ejection compare in a similar way, by standard deviations.
type Rest struct {
	clean    int // backends without a failure
	mixed    int // backends with some
	suspects int // backends with five failures in a row, which tell nothing of what is normal

	good, bad             float64 // of the mixed ones
	recentGood, recentBad float64
}

// Add takes note of the conduct of another backend.
func (r *Rest) Add(c Conduct) {
	switch {
	case c.Row >= maxConsecutive:
		r.suspects++
	case c.Bad == 0 && c.Fresh: // nothing is known of it
	case c.Bad == 0:
		r.clean++
	default:
		r.mixed++
		r.good += float64(c.Good)
		r.bad += float64(c.Bad)
		r.recentGood += float64(c.RecentGood)
		r.recentBad += float64(c.RecentBad)
	}
}

// Remove takes back what was added of a backend.
func (r *Rest) Remove(c Conduct) {
	switch {
	case c.Row >= maxConsecutive:
		r.suspects = max(r.suspects-1, 0)
	case c.Bad == 0 && c.Fresh:
	case c.Bad == 0:
		r.clean = max(r.clean-1, 0)
	default:
		r.mixed = max(r.mixed-1, 0)
		r.good = max(r.good-float64(c.Good), 0)
		r.bad = max(r.bad-float64(c.Bad), 0)
		r.recentGood = max(r.recentGood-float64(c.RecentGood), 0)
		r.recentBad = max(r.recentBad-float64(c.RecentBad), 0)
	}
}

const (
	// luck is how likely a row of failures may be by chance. There are thousands of
	// requests in which it could have come about.
	luck = 1e-6
	// priorFailures is what is assumed of others that are not heard of.
	priorFailures = 0.02
)

// Worse reports whether a backend with this conduct does worse than the rest, for
// the given cause, by more than chance explains. The rest is without the backend
// itself and without those that are ejected. A backend without a failure counts as
// having had as many requests as the one in question.
func (r *Rest) Worse(cause Cause, own Conduct) bool {
	if r.clean+r.mixed == 0 {
		return r.suspects == 0 // all others fail as well, or there are none
	}
	switch cause {
	case Consecutive:
		return r.byChance(own) < luck
	case SuccessRate:
		n := own.Good + own.Bad
		others := r.good + r.bad + float64(r.clean)*float64(n)
		// The window began with a failure, which is no chance.
		return atLeast(own.Bad-1, n-1, (r.bad+1)/(others+10)) < luck
	default:
		return false
	}
}

// atLeast returns how likely k failures or more of n requests are, of which each fails
// with the given probability.
func atLeast(k, n uint32, p float64) float64 {
	if float64(k) <= float64(n)*p {
		return 1
	}
	lgamma := func(x uint32) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	term := math.Exp(lgamma(n) - lgamma(k) - lgamma(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	sum := term
	for i := k; i < n && term > sum*1e-6; i++ {
		term *= float64(n-i) / float64(i+1) * p / (1 - p)
		sum += term
	}
	return sum
}

// byChance returns how likely the row of failures is at a backend that is like the
// rest: by what the others did in the last three seconds, or by half of what they did
// in ten, as there may have been few requests in three.
func (r *Rest) byChance(own Conduct) float64 {
	share := func(bad, good float64, each uint32) float64 {
		return (bad + priorFailures) / (bad + good + float64(r.clean)*float64(each) + 1)
	}
	failing := max(
		share(r.recentBad, r.recentGood, own.RecentGood+own.RecentBad),
		share(r.bad, r.good, own.Good+own.Bad)/2,
	)
	return math.Pow(min(failing, 1), float64(own.Row))
}

// Unusual reports whether the failures of a backend are out of the ordinary beside the
// rest: no other backend has had one lately, or chance does not explain so many in a
// row.
func (r *Rest) Unusual(own Conduct) bool {
	return r.mixed+r.suspects == 0 || r.clean+r.mixed > 0 && r.byChance(own) < luck
}
