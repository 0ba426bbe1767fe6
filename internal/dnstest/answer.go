package dnstest

import (
	"time"

	"github.com/miekg/dns"
)

const (
	// negativeTTL is for how long a client may remember that there is nothing.
	negativeTTL = 5 * time.Second
	// maxAliases ends a loop of aliases.
	maxAliases = 8
)

func (s *Server) handler(network string) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		if len(query.Question) != 1 {
			dns.HandleFailed(w, query)
			return
		}
		if raw := s.respond(network, query); raw != nil {
			_, _ = w.Write(raw) // a client that has gone is no concern of the server
		}
	})
}

// respond counts the query and returns what to send, nil for nothing.
func (s *Server) respond(network string, query *dns.Msg) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := query.Question[0]
	s.queries[question{dns.CanonicalName(q.Name), q.Qtype}]++
	answer := s.answer(query)
	answer.Truncate(limit(network, query))
	if s.fault != nil {
		return s.fault(network, query, answer)
	}
	return pack(answer)
}

// answer is called with mu held.
func (s *Server) answer(query *dns.Msg) *dns.Msg {
	answer := new(dns.Msg)
	answer.SetReply(query)
	answer.Authoritative, answer.Compress = true, true
	if query.IsEdns0() != nil {
		answer.SetEdns0(dns.DefaultMsgSize, false)
	}

	q := query.Question[0]
	name, exists, found := dns.CanonicalName(q.Name), false, false
	for range maxAliases {
		var alias string
		records, ok := s.records[name]
		exists = ok
		for _, rr := range records {
			switch rr := rr.(type) {
			case *dns.CNAME:
				alias = dns.CanonicalName(rr.Target)
			default:
				if rr.Header().Rrtype != q.Qtype {
					continue
				}
				found = true
			}
			answer.Answer = append(answer.Answer, dns.Copy(rr))
			if srv, ok := rr.(*dns.SRV); ok {
				answer.Extra = append(answer.Extra, s.addresses(srv.Target)...)
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if !found {
		answer.Ns = []dns.RR{&dns.SOA{
			Hdr: header(".", dns.TypeSOA, negativeTTL), Ns: "ns.dns.", Mbox: "hostmaster.", Minttl: uint32(negativeTTL / time.Second),
		}}
	}
	if !exists {
		answer.Rcode = dns.RcodeNameError
	}
	return answer
}

// addresses is called with mu held.
func (s *Server) addresses(name string) []dns.RR {
	var addresses []dns.RR
	for _, rr := range s.records[dns.CanonicalName(name)] {
		switch rr.(type) {
		case *dns.A, *dns.AAAA:
			addresses = append(addresses, dns.Copy(rr))
		}
	}
	return addresses
}

// limit is the greatest answer, in bytes, that fits the transport and the client.
func limit(network string, query *dns.Msg) int {
	if network == "tcp" {
		return dns.MaxMsgSize
	}
	if opt := query.IsEdns0(); opt != nil {
		return max(dns.MinMsgSize, int(opt.UDPSize()))
	}
	return dns.MinMsgSize
}

// pack returns nil for what cannot be sent.
func pack(m *dns.Msg) []byte {
	raw, err := m.Pack()
	if err != nil {
		return nil
	}
	return raw
}
