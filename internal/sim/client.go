package main

import "time"

// An outcome is what became of an attempt.
type outcome uint8

const (
	success outcome = iota
	failure         // the server said so
	timeout         // the caller waited no longer
	limited         // the server says that the caller has sent too many
	broken          // the connection is gone
)

// A policy chooses servers for one client.
type policy interface {
	// update makes the policy choose among exactly these servers.
	update(servers []*server)
	// pick returns the server for an attempt, or nil if there is none.
	pick(a *attempt) *server
	// done tells the outcome of an attempt.
	done(a *attempt, o outcome)
}

// A budget bounds retries.
type budget interface {
	deposit() // for each request
	observe(o outcome)
	withdraw(now int64) bool // reports whether one more attempt may be made
}

// A client sends requests, and some of them again.
type client struct {
	id     int
	zone   int
	world  *world
	policy policy
	budget budget // nil: as many retries as there are attempts
}

// A request is what a user waits for.
type request struct {
	client   *client
	sample   int   // its number in the record
	kind     *kind // nil for an ordinary one
	arrived  int64
	demand   time.Duration
	key      uint64
	attempts int
}

// An attempt is one try to have a request answered.
type attempt struct {
	request  *request
	previous *attempt // of the same request, or nil
	server   *server
	started  int64
	over     bool
	spare    time.Duration // how long the server asks to be left alone, with a failure; 0 if it does not
	ticket   ticket
}

func (c *client) send(r *request) {
	if c.budget != nil {
		c.budget.deposit()
	}
	c.try(r, nil)
}

func (c *client) try(r *request, previous *attempt) {
	w := c.world
	a := &attempt{request: r, previous: previous, started: w.now}
	r.attempts++
	if a.server = c.policy.pick(a); a.server == nil {
		w.record.finished(r, w.now, false)
		return
	}
	w.record.picked(w.now, a)
	a.server.accept(a)
	if limit := c.limit(r); limit > 0 {
		w.at(limit, a.giveUp)
	}
}

// limit returns when the caller stops to wait for the present attempt, or 0.
func (c *client) limit(r *request) int64 {
	s, deadline := &c.world.setup, r.deadline()
	limit := r.arrived + int64(deadline)
	switch {
	case deadline == 0:
		return 0
	case s.perTry > 0:
		return min(limit, c.world.now+int64(s.perTry))
	default:
		return limit
	}
}

func (a *attempt) giveUp() { a.abandon(timeout) }

func (a *attempt) breakOff() { a.abandon(broken) }

// abandon ends an attempt that has no answer, unless it has one.
func (a *attempt) abandon(o outcome) {
	if !a.over {
		a.server.outstanding--
		a.end(o)
	}
}

// end is called once, when the caller has an answer or waits no longer.
func (a *attempt) end(o outcome) {
	a.over = true
	r := a.request
	c, w := r.client, r.client.world
	c.policy.done(a, o)
	if c.budget != nil {
		c.budget.observe(o)
	}
	if o != success && c.mayRetry(r) {
		c.try(r, a)
		return
	}
	w.record.finished(r, w.now, o == success)
}

func (c *client) mayRetry(r *request) bool {
	s := &c.world.setup
	return r.attempts < s.attempts &&
		c.world.now < r.arrived+int64(r.deadline()) &&
		(c.budget == nil || c.budget.withdraw(c.world.now))
}
