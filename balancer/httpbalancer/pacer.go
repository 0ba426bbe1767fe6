package httpbalancer

import (
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	// minPace and maxPace bound the pauses between attempts that servers refuse.
	minPace = time.Millisecond
	maxPace = 100 * time.Millisecond
	// maxRefused is for how long a request without a deadline is sent again. It is
	// about as long as http.Transport tries with HTTP/2.
	maxRefused = time.Minute
)

// A pacer spaces out the attempts of one request that servers did not process:
// the next one follows at once, and those after it ever later. Servers that allow
// for fewer streams than there are requests have room again when others end. The
// zero value is ready.
type pacer struct {
	refusals int
	began    time.Time // with the first of them
}

// wait returns nil when the next attempt is due, or why there is to be none.
func (p *pacer) wait(req *http.Request, closed <-chan struct{}) error {
	p.refusals++
	if p.refusals == 1 {
		p.began = time.Now()
		return nil
	}
	if _, ok := req.Context().Deadline(); !ok && time.Since(p.began) > maxRefused {
		return errRefused
	}
	timer := time.NewTimer(p.pause())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-req.Context().Done():
	case <-req.Cancel: //nolint:staticcheck // deprecated, yet http.Transport obeys it
	case <-closed:
		return errClosed
	}
	return causeOf(req)
}

// pause is doubled each time, and of that a random part between a half and the
// whole.
func (p *pacer) pause() time.Duration {
	d := maxPace
	if n := p.refusals - 2; n < 10 {
		d = min(minPace<<n, maxPace)
	}
	return d/2 + rand.N(d/2+1)
}
