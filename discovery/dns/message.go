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

func newQuery(name string, qtype uint16) *miekg.Msg {
	query := new(miekg.Msg)
	query.SetQuestion(name, qtype)
	query.SetEdns0(udpSize, false)
	return query
}

// parseAnswer returns the answer to query that raw holds. Only the header and
// the question are good in an answer that says it is truncated.
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
