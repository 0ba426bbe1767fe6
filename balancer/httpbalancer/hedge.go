package httpbalancer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// errBeaten is why an attempt is given up when the other one has its answer.
var errBeaten = errors.New("httpbalancer: another backend has answered")

// Hedge says when an idempotent request is sent to a second backend while the
// first has not answered yet. The answer that comes first is taken, and the other
// attempt cancelled. The zero value is never.
//
// It is for services where a few answers take much longer than the rest and the
// same is not to be expected of another backend. Hedges take from the same budget
// as retries.
type Hedge struct {
	// Percentile of the latest latencies, such as 95: a request is sent again when
	// it has taken longer. It is more than 0 and less than 100; 0 is not to hedge.
	// There are no hedges before a hundred requests were answered.
	Percentile float64
}

func (h *Hedge) validate() error {
	if !(h.Percentile >= 0 && h.Percentile < 100) {
		return fmt.Errorf("Hedge.Percentile: %v is not from 0 to less than 100", h.Percentile)
	}
	return nil
}

// A hedgedAttempt is one of the two attempts of a hedged request.
type hedgedAttempt struct {
	resp   *http.Response
	err    error
	cancel context.CancelCauseFunc
}

// hedged sends the request, and sends it again if it takes long.
func (j *call) hedged() (*http.Response, error) {
	body := newRequestBody(j.req)
	if !j.pool.hold() {
		body.discard()
		return nil, &requestError{err: errClosed}
	}
	ended := make(chan *hedgedAttempt, 2)
	began := time.Now()
	first := j.setOut(ended, body, "")
	second, l := j.hedge(ended)
	j.pool.hedge.Observe(time.Since(began))
	if second == nil {
		j.pool.conns.Done()
		return l.take()
	}
	other := first
	if l == first {
		other = second
	}
	if !l.failed(&j.pool.transport.config) {
		other.cancel(errBeaten)
		go func() {
			defer j.pool.conns.Done()
			(<-ended).discard()
		}()
		return l.take()
	}
	defer j.pool.conns.Done()
	if o := <-ended; o.err == nil { // which may have done better
		l.discard()
		return o.take()
	}
	other.cancel(nil)
	return l.take()
}

// hedge returns the attempt that is done first, and the second one if there is one.
func (j *call) hedge(ended chan *hedgedAttempt) (second, done *hedgedAttempt) {
	delay, ok := j.pool.hedge.Delay(j.pool.now())
	if !ok {
		return nil, <-ended
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case l := <-ended:
		return nil, l
	case <-timer.C:
	}
	second = j.hedgeNow(ended)
	return second, <-ended
}

// hedgeNow sends the request a second time if it may.
func (j *call) hedgeNow(ended chan<- *hedgedAttempt) *hedgedAttempt {
	if !j.more() || gaveUp(j.req) || !j.pool.budget.Withdraw(j.pool.now()) {
		return nil
	}
	again := *j.req
	if j.req.Body != nil && j.req.Body != http.NoBody {
		var err error
		if again.Body, err = j.req.GetBody(); err != nil {
			return nil
		}
	}
	return j.setOut(ended, newRequestBody(&again), balancer.Hedged)
}

// setOut begins an attempt, which comes out of attempts in the end.
func (j *call) setOut(ended chan<- *hedgedAttempt, body *requestBody, why balancer.Reason) *hedgedAttempt {
	ctx, cancel := context.WithCancelCause(j.req.Context())
	l := &hedgedAttempt{cancel: cancel}
	go func() {
		l.resp, l.err = j.travel(j.req.WithContext(ctx), body, why) //nolint:bodyclose // who takes the attempt does
		ended <- l
	}()
	return l
}

func (l *hedgedAttempt) failed(config *Config) bool {
	return l.err != nil || resultOf(config, l.resp).Outcome == health.Failure
}

// take returns what came of the attempt. Its context lasts as long as the response's
// body.
func (l *hedgedAttempt) take() (*http.Response, error) {
	if l.err != nil {
		l.cancel(nil)
		return nil, l.err
	}
	switch body := l.resp.Body.(type) {
	case *attempt:
		body.then = l.release
	case *upgradedBody:
		body.attempt.then = l.release
	default: // the attempt has ended
		l.release()
	}
	return l.resp, nil
}

func (l *hedgedAttempt) discard() {
	if l.err == nil {
		drain(l.resp)
	}
	l.release()
}

func (l *hedgedAttempt) release() { l.cancel(nil) }
