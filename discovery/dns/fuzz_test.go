package dns

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
)

// FuzzAnswer gives one message as the answer to all queries of a look-up. What
// comes of it is an error, an honest nothing, or endpoints that can be used.
func FuzzAnswer(f *testing.F) {
	for _, m := range fuzzSeeds() {
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, false)
		f.Add(raw, true)
		f.Add(raw[:len(raw)-1], true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, byName bool) {
		target := discovery.Target{
			Scheme: discovery.SchemeHeadless, Service: "quiz", Namespace: "kiada", Domain: "cluster.local",
			Port: discovery.Port{Number: 80},
		}
		if byName {
			target.Port = discovery.Port{Name: "grpc"}
		}
		l := lookup{target: target, client: client{
			servers:  newServers(Config{Servers: []string{"10.96.0.10:53"}}),
			timeout:  time.Minute,
			exchange: echo(raw),
		}}
		l.config.Timeout = time.Minute
		l.isClusterIP(t.Context(), netip.MustParseAddr("10.96.0.7"))
		r, err := l.read(t.Context())
		if err != nil {
			return
		}
		if (len(r.endpoints) == 0) != (r.reason != nil) {
			t.Errorf("%d endpoints and the reason %v", len(r.endpoints), r.reason)
		}
		for i, e := range r.endpoints {
			if discovery.CheckAddr(e.Addr.Addr()) != nil || e.Addr.Port() == 0 || e.Addr.Addr().Is4() != r.endpoints[0].Addr.Addr().Is4() {
				t.Errorf("endpoint %v of %v", e.Addr, r.endpoints)
			}
			if slices.ContainsFunc(r.endpoints[:i], func(o discovery.Endpoint) bool { return o.Addr == e.Addr }) {
				t.Errorf("endpoint %v twice", e.Addr)
			}
		}
	})
}

// echo answers every query with raw, under the ID and the question of the query
// so that the rest of raw comes into play.
func echo(raw []byte) exchangeFunc {
	return func(ctx context.Context, _, _ string, query *miekg.Msg) (*miekg.Msg, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if given := new(miekg.Msg); given.Unpack(raw) == nil && len(given.Question) == 1 {
			query = query.Copy()
			query.Question[0] = given.Question[0]
		}
		answer := bytes.Clone(raw)
		if len(answer) >= headerSize {
			answer[0], answer[1] = byte(query.Id>>8), byte(query.Id)
		}
		return parseAnswer(query, answer)
	}
}

func fuzzSeeds() []*miekg.Msg {
	const host = "quiz.kiada.svc.cluster.local."
	var seeds []*miekg.Msg
	for _, records := range [][]string{
		{},
		{host + " 30 IN A 10.0.0.1", host + " 30 IN A 10.0.0.2", host + " 30 IN A 127.0.0.1"},
		{host + " 30 IN AAAA 2001:db8::1", host + " 30 IN AAAA ::ffff:10.0.0.1"},
		{host + " 30 IN CNAME a.example.", "a.example. 5 IN A 192.0.2.1"},
		{host + " 30 IN CNAME a.example.", "a.example. 5 IN CNAME " + host},
		{"7.0.96.10.in-addr.arpa. 30 IN PTR " + host, "7.0.96.10.in-addr.arpa. 30 IN PTR ."},
		{"_grpc._tcp." + host + " 30 IN SRV 1 0 9090 " + host, "_grpc._tcp." + host + " 30 IN SRV 0 0 9090 .", "_grpc._tcp." + host + " 30 IN SRV 1 9 9090 ."},
		{"_grpc._tcp." + host + " 30 IN SRV 0 50 9090 10-0-0-1." + host, "_grpc._tcp." + host + " 30 IN SRV 0 50 0 ."},
	} {
		m := new(miekg.Msg)
		m.SetQuestion(host, miekg.TypeA)
		m.Response, m.Authoritative, m.Compress = true, true, true
		for _, s := range records {
			rr, err := miekg.NewRR(s)
			if err != nil {
				panic(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		seeds = append(seeds, m)
	}
	srv := seeds[len(seeds)-1]
	srv.Extra = []miekg.RR{&miekg.A{
		Hdr: miekg.RR_Header{Name: "10-0-0-1." + host, Rrtype: miekg.TypeA, Class: miekg.ClassINET, Ttl: 30},
		A:   []byte{10, 0, 0, 1},
	}}
	return seeds
}
