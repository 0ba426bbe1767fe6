package httpbalancer

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

// NewWithLookup is New with a DNS of the test's own.
func NewWithLookup(config Config, lookup func(ctx context.Context, host string) (bool, error)) *Transport {
	return newTransport(config, lookup)
}

// InFlight counts the requests in flight to all backends that have not left.
func (t *Transport) InFlight() (n int64) {
	for p := range distinct(*t.pools.Load()) {
		for _, b := range p.balancer.Backends() {
			n += b.InFlight()
		}
	}
	return n
}

// Fit counts the backends in rotation.
func (t *Transport) Fit() (n int) {
	for p := range distinct(*t.pools.Load()) {
		for _, b := range p.balancer.Backends() {
			if b.Fit() {
				n++
			}
		}
	}
	return n
}

// Pools counts the targets that are watched.
func (t *Transport) Pools() int { return len(distinct(*t.pools.Load())) }

// AskDNSFirst makes a Transport with a source of its own treat it as the
// in-cluster one.
func (t *Transport) AskDNSFirst() { t.askFirst = true }

// RetryAfter reads the header of that name.
var RetryAfter = retryAfter

// Pods returns the names of the present backends' pods.
func (t *Transport) Pods() (names []string) {
	for p := range distinct(*t.pools.Load()) {
		for _, b := range p.balancer.Backends() {
			names = append(names, b.Endpoint().Pod)
		}
	}
	return names
}

// Observe makes hedges go by so many latencies, for a Service that is asked now.
func (t *Transport) Observe(n int, latency time.Duration) {
	req, _ := http.NewRequest(http.MethodGet, "http://quiz.kiada/", http.NoBody)
	p, err := t.enter(req)
	if err != nil {
		panic(err)
	}
	defer p.users.leave()
	for range n {
		p.hedge.Observe(latency)
	}
}

// AgeOf returns an age that a connection may reach.
func AgeOf(maxAge time.Duration) time.Duration {
	l := limits{maxAge: maxAge}
	return l.age()
}

// Service returns the target that a URL leads to as far as its host says.
func (t *Transport) Service(u *url.URL) (discovery.Target, bool) {
	host, ok := t.host(&http.Request{URL: u})
	return host.target, ok
}
