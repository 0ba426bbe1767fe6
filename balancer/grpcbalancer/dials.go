package grpcbalancer

import (
	"math/rand/v2"
	"time"
)

// dials bounds how many connections of a channel are being made at the same
// time. Those that have to wait are made in a random order, each a random moment
// after another one is done: a thousand clients that learn of a thousand backends
// would all go to the same ones first otherwise. It is guarded by the pool's mu.
type dials struct {
	pool    *pool // read-only
	waiting []*subConn
	busy    int         // connections being made, and moments being waited for
	limit   int         // of busy
	hurry   *time.Timer // raises the limit; is set while some wait
}

const (
	maxDials   = 64
	dialJitter = 10 * time.Millisecond // the longest of the moments
	// dialPatience is after how long as many again are begun although none is
	// done: backends that do not answer should not keep the others waiting.
	dialPatience = 250 * time.Millisecond
)

// add lets s wait for its turn, which may be at the next call of startDials.
func (d *dials) add(s *subConn) { d.waiting = append(d.waiting, s) }

// done takes note that s is not being connected any more.
func (d *dials) done(s *subConn) {
	if !s.dialing {
		return
	}
	s.dialing = false
	if len(d.waiting) == 0 || d.busy > d.limit {
		d.busy--
		return
	}
	// Its place is kept for the next one.
	time.AfterFunc(rand.N(dialJitter), func() {
		d.pool.mu.Lock()
		d.busy--
		d.pool.mu.Unlock()
		d.pool.startDials()
	})
}

// take returns the next one to be connected; nil if it has to wait or there is
// none.
func (d *dials) take() *subConn {
	for d.busy < d.limit && len(d.waiting) > 0 {
		last := len(d.waiting) - 1
		i := rand.IntN(last + 1)
		s := d.waiting[i]
		d.waiting[i], d.waiting[last] = d.waiting[last], nil
		d.waiting = d.waiting[:last]
		if !s.closed {
			s.dialing = true
			d.busy++
			return s
		}
	}
	return nil
}

// startDials begins the connections whose turn it is. It is called without the
// pool's mu after it was held for something that may have changed that.
func (p *pool) startDials() {
	for {
		p.mu.Lock()
		s := p.dials.take()
		if s != nil {
			s.conn.awaitNext()
		}
		p.dials.hasten()
		p.mu.Unlock()
		if s == nil {
			return
		}
		s.sub.Connect()
	}
}

// hasten makes sure that nobody waits forever.
func (d *dials) hasten() {
	switch {
	case len(d.waiting) == 0:
		d.limit = maxDials
	case d.hurry == nil && !d.pool.closed:
		d.hurry = time.AfterFunc(dialPatience, func() {
			d.pool.mu.Lock()
			d.hurry = nil
			d.limit = d.busy + maxDials
			d.pool.mu.Unlock()
			d.pool.startDials()
		})
	}
}
