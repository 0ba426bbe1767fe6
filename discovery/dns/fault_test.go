package dns_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

func TestABadAnswerKeepsTheLastEndpointsAndMarksThemStale(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault dnstest.Fault
		want  string // in the error
	}{
		{"SERVFAIL", dnstest.Fail(miekg.RcodeServerFailure), "SERVFAIL"},
		{"REFUSED", dnstest.Fail(miekg.RcodeRefused), "REFUSED"},
		{"an unknown status", dnstest.Fail(15), "RCODE 15"},
		{"no answer", dnstest.Mute, "no answer within 50ms"},
		{"an answer to another question", dnstest.WrongQuestion, "another question"},
		{"an answer under another ID", dnstest.WrongID, "another question"},
		{"a truncated answer over TCP", dnstest.TruncateAll, "truncated even over TCP"},
		{"a name that points at itself", dnstest.BadCompression, "malformed"},
		{"fewer records than promised", dnstest.CutShort, "malformed"},
		{"no message at all", raw([]byte("?")), "no answer within 50ms"},
		{"half a message", half, "malformed"},
		{"its own question", func(_ string, query, _ *miekg.Msg) []byte { return pack(query) }, "another question"},
		{"a referral", func(_ string, query, _ *miekg.Msg) []byte { return pack(new(miekg.Msg).SetReply(query)) }, "does not ask others"},
		{"a record without data", emptyRecord, "without data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t)
			server.SetA(host, time.Second, ips("10.0.0.1")...)
			config := quick(server)
			config.Timeout = 50 * time.Millisecond
			sub := watch(t, config, "headless:///quiz:80")
			serves(t, sub, "10.0.0.1:80")

			server.Break(test.fault)
			view := await(t, sub, "an error that says "+test.want, func(v discovery.View) bool {
				return v.Stale() && strings.Contains(v.Err.Error(), test.want)
			})
			expect(t, view.Snapshot, "10.0.0.1:80")
			if target := sub.Target().String(); !strings.Contains(view.Err.Error(), target) {
				t.Errorf("error %q does not name %s", view.Err, target)
			}

			server.SetA(host, time.Second, ips("10.0.0.2")...)
			server.Heal()
			serves(t, sub, "10.0.0.2:80")
		})
	}
}

func raw(b []byte) dnstest.Fault {
	return func(string, *miekg.Msg, *miekg.Msg) []byte { return b }
}

func pack(m *miekg.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// half cuts the message in the middle of its only answer.
func half(_ string, _, answer *miekg.Msg) []byte {
	answer.Extra = nil
	b := pack(answer)
	return b[:len(b)-2]
}

func emptyRecord(_ string, query, answer *miekg.Msg) []byte {
	answer.Answer = []miekg.RR{&miekg.ANY{Hdr: miekg.RR_Header{
		Name: query.Question[0].Name, Rrtype: query.Question[0].Qtype, Class: miekg.ClassINET, Ttl: 5,
	}}}
	return pack(answer)
}

func TestAForgedAnswerDoesNotTakeThePlaceOfTheRightOne(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		answerThreeTimes(server)
	}()
	defer func() {
		server.Close()
		<-ended
	}()
	config := quick()
	config.Servers = []string{server.LocalAddr().String()}
	expect(t, resolve(t, config, "headless:///quiz:80"), "10.0.0.1:80")
}

// answerThreeTimes sends two messages that do not fit before the right one.
func answerThreeTimes(server net.PacketConn) {
	buffer := make([]byte, miekg.MinMsgSize)
	for {
		n, client, err := server.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		query, answer := new(miekg.Msg), new(miekg.Msg)
		if query.Unpack(buffer[:n]) != nil {
			continue
		}
		answer.SetReply(query)
		answer.Authoritative = true
		for _, message := range []struct {
			id       uint16
			question string
			addr     string
		}{
			{query.Id + 1, query.Question[0].Name, "10.6.6.6"},
			{query.Id, "other.example.", "10.6.6.6"},
			{query.Id, query.Question[0].Name, "10.0.0.1"},
		} {
			answer.Id, answer.Question[0].Name = message.id, message.question
			answer.Answer = []miekg.RR{&miekg.A{
				Hdr: miekg.RR_Header{Name: host + ".", Rrtype: miekg.TypeA, Class: miekg.ClassINET, Ttl: 30},
				A:   net.ParseIP(message.addr),
			}}
			_, _ = server.WriteTo(pack(answer), client)
		}
	}
}

func TestATruncatedAnswerIsReadOverTCP(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.0.0.1")...)
	server.Break(dnstest.Truncate)
	expect(t, resolve(t, quick(server), "headless:///quiz:80"), "10.0.0.1:80")
	server.Heal()

	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("10.0.%d.%d", i/256, i%256))
	}
	server.SetA(host, time.Minute, ips(many...)...)
	if n := len(resolve(t, quick(server), "headless:///quiz:80").Endpoints); n != 2000 {
		t.Errorf("%d endpoints, want 2000", n)
	}
}

func TestTheNextServerIsAskedWhenOneFails(t *testing.T) {
	for name, fault := range map[string]dnstest.Fault{
		"SERVFAIL":  dnstest.Fail(miekg.RcodeServerFailure),
		"REFUSED":   dnstest.Fail(miekg.RcodeRefused),
		"no answer": dnstest.Mute,
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := startServer(t), startServer(t)
			bad.Break(fault)
			good.SetA(host, time.Minute, ips("10.0.0.1")...)
			config := quick(bad, good)
			config.Timeout = 50 * time.Millisecond
			expect(t, resolve(t, config, "headless:///quiz:80"), "10.0.0.1:80")
			if bad.Queries(host, miekg.TypeA) == 0 {
				t.Error("the first server has not been asked")
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		gone, good := startServer(t), startServer(t)
		gone.Close()
		good.SetA(host, time.Minute, ips("10.0.0.1")...)
		expect(t, resolve(t, quick(gone, good), "headless:///quiz:80"), "10.0.0.1:80")
	})
}

func TestNXDOMAINOfTheFirstServerIsFinal(t *testing.T) {
	first, second := startServer(t), startServer(t)
	second.SetA(host, time.Minute, ips("10.0.0.1")...)
	expect(t, resolve(t, quick(first, second), "headless:///quiz:80"))
}

func TestWaitingForADumbServerEndsWithTheRequest(t *testing.T) {
	server := startServer(t)
	server.Break(dnstest.Mute)
	config := quick(server)
	config.Timeout = time.Minute
	sub := watch(t, config, "headless:///quiz:80")

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := sub.First(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	begun := time.Now()
	sub.Close() // while the query is under way
	if d := time.Since(begun); d > soon {
		t.Errorf("Close took %v", d)
	}
}

func TestAMissingResolvConfIsNoPermanentFailure(t *testing.T) {
	config := quick()
	config.ResolvConf = filepath.Join(t.TempDir(), "resolv.conf")
	err := resolveError(t, config, "headless:///quiz:80")
	if discovery.IsPermanent(err) || !strings.Contains(err.Error(), config.ResolvConf) {
		t.Errorf("error %v", err)
	}
}
