package httpbalancer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"sync"

	"github.com/sidestep-lb/sidestep/discovery"
)

// An Answer is what one pod said to a request for all.
type Answer struct {
	// Endpoint is the pod.
	Endpoint discovery.Endpoint
	// Response is nil if there is an Err. Its body is closed when the loop goes on.
	Response *http.Response
	// Err says why there is no response.
	Err error
}

// errNoService is the error of All for a host that is not balanced.
var errNoService = errors.New("the host of the URL is no Service")

// All sends a request to every ready pod of a Service, such as one that empties
// a cache, wherever the pod runs: neither zones nor SubsetSize matter. It waits for
// the first endpoints of the Service like RoundTrip, and sends to those of that
// moment. At most concurrency requests are in flight at the same time, counting
// those whose response the loop has not come to; less than one is one. Each pod
// is asked once: there are no retries, no hedges, and none is passed over for
// its health. A body is taken from GetBody for each pod, which it needs.
//
// Leaving the loop cancels what is under way. The error says why there is nobody
// to ask.
//
//	answers, err := transport.All(req, 8)
//	...
//	for answer := range answers {
//		...
//	}
func (t *Transport) All(req *http.Request, concurrency int) (iter.Seq[Answer], error) {
	p, err := t.enter(req)
	if err == nil && p == nil {
		err = errNoService
	}
	closeBody(req) // each pod gets one of its own
	if err != nil {
		return nil, &requestError{err: err}
	}
	defer p.users.leave()
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return nil, errors.New("httpbalancer: All: the request has a body and no GetBody")
	}
	snapshot, err := p.endpoints.First(req.Context())
	if errors.Is(err, discovery.ErrClosed) {
		err = errClosed
	}
	if err != nil {
		return nil, &requestError{target: p.target, err: err}
	}
	var ready []*discovery.Endpoint
	for i := range snapshot.Endpoints {
		if e := &snapshot.Endpoints[i]; e.Ready {
			ready = append(ready, e)
		}
	}
	if len(ready) == 0 {
		return nil, &requestError{target: p.target, err: snapshot.Unusable(p.target)}
	}
	return func(yield func(Answer) bool) { p.all(req, ready, max(concurrency, 1), yield) }, nil
}

// all is the loop over the answers.
func (p *pool) all(req *http.Request, ready []*discovery.Endpoint, concurrency int, yield func(Answer) bool) {
	if !p.hold() {
		yield(Answer{Err: &requestError{target: p.target, err: errClosed}})
		return
	}
	defer p.conns.Done()
	ctx, cancel := context.WithCancel(req.Context())
	known := p.connsByIdentity()
	todo, answers, turns := make(chan *discovery.Endpoint), make(chan Answer), make(chan struct{}, concurrency)
	var workers sync.WaitGroup
	for range min(concurrency, len(ready)) {
		workers.Go(func() {
			for e := range todo {
				turns <- struct{}{}
				a := p.askOne(req.WithContext(ctx), e, known[e.Identity()])
				if a.Response != nil {
					a.Response.Request = req
				}
				answers <- a
			}
		})
	}
	workers.Go(func() {
		defer close(todo)
		for _, e := range ready {
			todo <- e
		}
	})
	go func() {
		workers.Wait()
		close(answers)
	}()
	over := func(a Answer) {
		if a.Response != nil {
			a.Response.Body.Close()
		}
		<-turns
	}
	defer func() { // the loop was left
		cancel()
		for a := range answers {
			over(a)
		}
	}()
	for a := range answers {
		going := yield(a)
		over(a)
		if !going {
			return
		}
	}
}

// connsByIdentity returns what there is of connections.
func (p *pool) connsByIdentity() map[discovery.Identity]*backendConn {
	backends := p.balancer.Backends()
	known := make(map[discovery.Identity]*backendConn, len(backends))
	for _, b := range backends {
		known[b.Endpoint().Identity()] = b.Conn().(*backendConn)
	}
	return known
}

// askOne sends the request, which is its own to change, to one pod, by a
// connection that is at hand or one that is for this request alone.
func (p *pool) askOne(req *http.Request, e *discovery.Endpoint, c *backendConn) Answer {
	a := Answer{Endpoint: *e}
	if a.Err = req.Context().Err(); a.Err != nil {
		return a
	}
	if req.Body != nil && req.Body != http.NoBody {
		if req.Body, a.Err = req.GetBody(); a.Err != nil {
			a.Err = fmt.Errorf("%s: body: %w", e, a.Err)
			return a
		}
	}
	if c == nil {
		c = newBackendConn(p, e, nil)
		defer c.Drain() // when the attempt has ended
	}
	if a.Response, a.Err = c.ask(req); a.Err != nil { //nolint:bodyclose // the loop over the answers does
		a.Err = &requestError{target: p.target, backend: e, err: a.Err, attempts: 1}
	}
	return a
}
