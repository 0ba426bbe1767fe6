package dns

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// firstRetry and lastRetry bound the delay after a failed look-up, which
	// doubles from one to the other.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
	// maxAbsence bounds the delay after an answer without endpoints, so that
	// the first pod after a scale to zero does not wait for the negative TTL,
	// which is 30 s in many clusters. Config.MinTTL may lift it.
	maxAbsence = 2 * time.Second
	// confirmation is for how long there must have been nothing when a user has
	// reported trouble: the pods are gone as well, in all likelihood.
	confirmation = 800 * time.Millisecond
)

// A timetable decides which answers count and when to ask again.
type timetable struct {
	config Config
	retry  *backoff.ExponentialBackOff
	// serving is whether the answer that counted last had endpoints.
	serving bool
	// absentSince is when the first of the answers without endpoints came that
	// contradict it. Zero if the last answer did not.
	absentSince time.Time
	// troubled is when a user last reported trouble that no answer has settled.
	// Zero if none did.
	troubled time.Time
}

func newTimetable(config Config) *timetable {
	return &timetable{
		config: config,
		retry: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(firstRetry),
			backoff.WithMultiplier(2),
			backoff.WithMaxInterval(lastRetry),
			backoff.WithMaxElapsedTime(0),
		),
	}
}

// failed returns when to ask again after a failure.
func (t *timetable) failed() time.Duration { return t.retry.NextBackOff() }

// answered returns whether r counts at this moment, and when to ask again.
func (t *timetable) answered(now time.Time, r reading) (deliver bool, wait time.Duration) {
	t.retry.Reset()
	ttl := min(max(r.ttl, t.config.MinTTL), t.config.MaxTTL)
	if len(r.endpoints) > 0 {
		t.serving, t.absentSince = true, time.Time{}
		if now.Sub(t.troubled) > ttl { // else a cache may have had it since before
			t.troubled = time.Time{}
		}
		return true, early(ttl)
	}
	if t.serving {
		if t.absentSince.IsZero() {
			t.absentSince = now
		}
		if hold := t.hold(); now.Sub(t.absentSince) < hold {
			return false, min(hold/4, maxAbsence)
		}
	}
	t.serving, t.absentSince = false, time.Time{}
	return true, early(min(ttl, max(maxAbsence, t.config.MinTTL)))
}

// hold returns for how long the last endpoints are kept while there is nothing.
// DNS answers the same whether the pods are gone or only the Service, to be made
// anew perhaps. Those who use the pods know the difference.
func (t *timetable) hold() time.Duration {
	if t.troubled.IsZero() {
		return t.config.HoldDown
	}
	return min(t.config.HoldDown, confirmation)
}

// early takes up to a tenth off, so that the clients of a Service do not ask
// all at once.
func early(d time.Duration) time.Duration {
	return d - rand.N(d/10+1)
}
