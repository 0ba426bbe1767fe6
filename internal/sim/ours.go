package main

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// sidestep is one of our policies: the product's own code, in virtual time.
func sidestep(name string) contestant {
	return configured("sidestep "+name, balancer.Config{Policy: name})
}

// configured is one of our policies with further configuration.
func configured(name string, config balancer.Config) contestant {
	return contestant{name: name, ours: true, policy: func(w *world, random *rand.Rand) policy {
		return newProduct(w, random, config)
	}}
}

// product is a Balancer of one client.
type product struct {
	world    *world
	balancer *adapter.Balancer
	keyed    bool
	zone     int                // of the client
	tried    []*adapter.Backend // of the request at hand
}

// epoch is when virtual time begins for the product, whose code should not
// depend on a clock that starts at zero.
const epoch = int64(time.Hour)

func newProduct(w *world, random *rand.Rand, config balancer.Config) *product {
	p := &product{world: w, keyed: w.setup.key != nil}
	b, err := adapter.New(config, adapter.Hooks{
		Connect:   func(b *adapter.Backend) adapter.Conn { return link{w.servers[idAt(b.Endpoint().Addr)]} },
		Now:       func() int64 { return epoch + w.now },
		Random:    random.Uint64,
		AfterFunc: w.after,
	})
	if err != nil {
		panic(err) // a policy that does not exist is a mistake in this program
	}
	p.balancer = b
	return p
}

// A link is a connection to a server.
type link struct{ server *server }

// Drain implements adapter.Conn.
func (link) Drain() {}

func (p *product) update(servers []*server) {
	endpoints := make([]discovery.Endpoint, len(servers))
	for i, s := range servers {
		endpoints[i] = discovery.Endpoint{Addr: addressOf(s.id), Ready: true, Serving: true}
	}
	if p.world.setup.zones != (zones{}) {
		endpoints = spilling(endpoints, servers, p.zone)
	}
	p.balancer.Update(endpoints)
}

// disconnected takes note that the connections to a server are gone.
func (p *product) disconnected(s *server) {
	for _, b := range p.balancer.Backends() {
		if b.Conn().(link).server == s {
			b.Observe(health.Unreachable)
		}
	}
}

// A ticket is what our policies keep for an attempt.
type ticket struct{ pick adapter.Pick }

func (p *product) pick(a *attempt) *server {
	p.tried = p.tried[:0]
	for earlier := a.previous; earlier != nil; earlier = earlier.previous {
		p.tried = append(p.tried, earlier.ticket.pick.Backend())
	}
	pick, err := p.balancer.Pick(adapter.Request{Key: a.request.key, HasKey: p.keyed, Class: a.request.class(), Tried: p.tried})
	if err != nil {
		return nil
	}
	a.ticket.pick = pick
	return pick.Backend().Conn().(link).server
}

func (p *product) done(a *attempt, o outcome) {
	b := a.ticket.pick.Backend()
	r := adapter.Result{Outcome: outcomes[o], RetryAfter: a.spare}
	if r.Outcome == health.Neutral {
		a.ticket.pick.Answered(r) // as adapters do: it is an answer
	}
	a.ticket.pick.Done(r)
	if report := a.server.report; o != timeout {
		b.Report(adapter.LoadReport{CPUUtilization: report.utilization, QPS: report.qps, EPS: report.eps})
	}
}

// outcomes are what the adapters make of them.
var outcomes = [...]health.Outcome{
	success: health.Success, failure: health.Failure, timeout: health.Timeout, broken: health.Unreachable,
	limited: health.Neutral, // 429 speaks of the caller
}

// budgeted is one of our policies with the product's retry budget.
func budgeted(k contestant) contestant {
	k.name += " + budget"
	k.budget = func(w *world) budget { return &productBudget{health.NewBudget(w.now)} }
	return k
}

type productBudget struct{ *health.Budget }

func (b *productBudget) deposit()                { b.Deposit() }
func (b *productBudget) observe(outcome)         {}
func (b *productBudget) withdraw(now int64) bool { return b.Withdraw(now) }

// addressOf is the address of the server with the given number.
func addressOf(id int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(id >> 16), byte(id >> 8), byte(id)}), 80)
}

// idAt is the number of the server with the given address.
func idAt(a netip.AddrPort) int {
	b := a.Addr().As4()
	return int(b[1])<<16 | int(b[2])<<8 | int(b[3])
}
