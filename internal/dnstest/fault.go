package dnstest

import "github.com/miekg/dns"

// A Fault makes of the right answer to a query what the server sends in its
// place: bytes that need not be a message, or nil for nothing. The network is
// "udp" or "tcp". A Fault may change answer and must not call the Server.
type Fault func(network string, query, answer *dns.Msg) []byte

// Break makes every answer pass through fault until the next Break or Heal.
func (s *Server) Break(fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Heal ends the fault.
func (s *Server) Heal() { s.Break(nil) }

// Fail answers with an error code, such as dns.RcodeServerFailure.
func Fail(rcode int) Fault {
	return func(_ string, query, _ *dns.Msg) []byte {
		return pack(new(dns.Msg).SetRcode(query, rcode))
	}
}

// Mute never answers.
func Mute(string, *dns.Msg, *dns.Msg) []byte { return nil }

// Truncate sends over UDP nothing but the word that there is more, and the
// whole answer over TCP.
func Truncate(network string, _, answer *dns.Msg) []byte {
	if network == "udp" {
		answer.Truncated = true
		answer.Answer, answer.Ns, answer.Extra = nil, nil, nil
	}
	return pack(answer)
}

// TruncateAll leaves out half of the answer over UDP and over TCP.
func TruncateAll(_ string, _, answer *dns.Msg) []byte {
	answer.Truncated = true
	answer.Answer = answer.Answer[:len(answer.Answer)/2]
	return pack(answer)
}

// WrongQuestion answers a question that nobody asked, with the records of the
// right one.
func WrongQuestion(_ string, _, answer *dns.Msg) []byte {
	answer.Question[0].Name = "elsewhere.example."
	return pack(answer)
}

// WrongID answers under an ID that nobody uses.
func WrongID(_ string, _, answer *dns.Msg) []byte {
	answer.Id++
	return pack(answer)
}

// CutShort promises more records than it sends.
func CutShort(_ string, _, answer *dns.Msg) []byte {
	raw := pack(answer)
	if raw != nil {
		raw[7]++ // the low byte of the number of answers
	}
	return raw
}

// BadCompression sends an answer whose record begins with a name that points at
// itself.
func BadCompression(_ string, query, _ *dns.Msg) []byte {
	raw := pack(new(dns.Msg).SetReply(query))
	if raw == nil {
		return nil
	}
	at := len(raw)
	raw[7] = 1 // one answer
	return append(raw, 0xc0|byte(at>>8), byte(at), 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 1)
}

// NoAdditional leaves out the additional section of the answer.
func NoAdditional(_ string, _, answer *dns.Msg) []byte {
	answer.Extra = nil
	return pack(answer)
}

// RefuseEDNS answers queries with EDNS0 with an error code, as servers do that
// do not know it, and others as they should be.
func RefuseEDNS(rcode int) Fault {
	return func(_ string, query, answer *dns.Msg) []byte {
		if query.IsEdns0() != nil {
			answer = new(dns.Msg).SetRcode(query, rcode)
		}
		return pack(answer)
	}
}
