package dns

import (
	"encoding/binary"
	"errors"
	"fmt"

	miekg "github.com/miekg/dns"
)

// udpSize is the size of answers that the client takes over UDP: what passes
// everywhere without fragments (DNS flag day 2020).
const udpSize = 1232

// headerSize is that of a DNS message (RFC 1035, section 4.1.1).
const headerSize = 12

// errForeign says that a message answers another question. It may be late or
// forged, so the right answer may still come (RFC 5452, section 9.1).
var errForeign = errors.New("it answers another question")

// newQuery makes a query with EDNS0, or a plain one for servers that know none.
func newQuery(name string, qtype uint16, plain bool) *miekg.Msg {
	query := new(miekg.Msg)
	query.SetQuestion(name, qtype)
	if !plain {
		query.SetEdns0(udpSize, false)
	}
	return query
}

// refusesEDNS reports whether answer may be the refusal of a server that does
// not know EDNS0.
func refusesEDNS(answer *miekg.Msg) bool {
	return answer.Rcode == miekg.RcodeFormatError || answer.Rcode == miekg.RcodeNotImplemented
}

// parseAnswer returns the answer to query that raw holds. One that says it is
// truncated may break off anywhere, and then has no records.
func parseAnswer(query *miekg.Msg, raw []byte) (*miekg.Msg, error) {
	if len(raw) < headerSize || binary.BigEndian.Uint16(raw) != query.Id {
		return nil, errForeign
	}
	answer := new(miekg.Msg)
	malformed := answer.Unpack(raw)
	switch {
	case !answer.Response || answer.Opcode != miekg.OpcodeQuery || !sameQuestion(query, answer):
		return nil, errForeign
	case answer.Truncated:
		if malformed != nil || !complete(answer, raw) {
			answer.Answer, answer.Ns, answer.Extra = nil, nil, nil
		}
		return answer, nil
	case malformed != nil:
		return nil, fmt.Errorf("malformed answer: %w", malformed)
	case !complete(answer, raw):
		return nil, errors.New("malformed answer: it ends before the last of its records")
	}
	return answer, nil
}

func sameQuestion(query, answer *miekg.Msg) bool {
	if len(answer.Question) == 0 { // some servers fail without repeating the question
		return answer.Rcode != miekg.RcodeSuccess && answer.Rcode != miekg.RcodeNameError
	}
	q, a := query.Question[0], answer.Question[0]
	return len(answer.Question) == 1 && a.Qtype == q.Qtype && a.Qclass == q.Qclass &&
		miekg.CanonicalName(a.Name) == miekg.CanonicalName(q.Name)
}

// complete reports whether answer holds as many records as its header promises.
// Unpack is content with fewer, which would pass a part off as the whole.
func complete(answer *miekg.Msg, raw []byte) bool {
	count := func(at int) int { return int(binary.BigEndian.Uint16(raw[at:])) }
	return len(answer.Answer) == count(6) && len(answer.Ns) == count(8) && len(answer.Extra) == count(10)
}

// errTruncated is why an answer is not all that there is.
var errTruncated = errors.New("the answer of DNS is truncated even over TCP, which holds 64 KB: " +
	"use a k8s:/// target, which reads all endpoints from the Kubernetes API")

// cutDown takes out of an answer over TCP what is not to be relied on if it is
// truncated. The answer is still marked as truncated if it lacks answers. The
// error is that there are none.
func cutDown(answer *miekg.Msg) error {
	if !answer.Truncated {
		return nil
	}
	answer.Truncated = !allAnswers(answer)
	answer.Extra = nil // some targets may lack some of their addresses
	if answer.Truncated && len(answer.Answer) == 0 {
		return errTruncated
	}
	return nil
}

// allAnswers reports whether a truncated answer to an SRV query lacks additional
// records alone: "truncation should start at the end of the response and work
// forward", so that whatever is left of the additional section shows that the
// answer section is whole (RFC 1035, section 6.2). CoreDNS sets the bit for
// either. A server that cut the answers first would leave addresses behind that
// belong to none of them.
func allAnswers(answer *miekg.Msg) bool {
	targets := make(map[string]bool, len(answer.Answer))
	for _, rr := range answer.Answer {
		if srv, ok := rr.(*miekg.SRV); ok {
			targets[miekg.CanonicalName(srv.Target)] = true
		}
	}
	left := false
	for _, rr := range answer.Extra {
		switch h := rr.Header(); h.Rrtype {
		case miekg.TypeA, miekg.TypeAAAA:
			if !targets[miekg.CanonicalName(h.Name)] {
				return false
			}
			left = true
		}
	}
	return left
}

// checkStatus refuses answers that say nothing about the name.
func checkStatus(answer *miekg.Msg) error {
	switch {
	case answer.Rcode == miekg.RcodeNameError:
		return nil
	case answer.Rcode != miekg.RcodeSuccess:
		return fmt.Errorf("the server answers %s", rcodeText(answer.Rcode))
	case len(answer.Answer) == 0 && !answer.Authoritative && !answer.RecursionAvailable:
		// A referral to servers that this client would have to ask itself.
		return errors.New("the server does not know the name and does not ask others")
	}
	return nil
}

func rcodeText(rcode int) string {
	if text, ok := miekg.RcodeToString[rcode]; ok {
		return text
	}
	return fmt.Sprintf("RCODE %d", rcode)
}
