package dnstest_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) *dnstest.Server {
	t.Helper()
	server, err := dnstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

func ask(t *testing.T, server *dnstest.Server, network, name string, qtype uint16) *dns.Msg {
	t.Helper()
	client := dns.Client{Net: network, Timeout: 10 * time.Second}
	answer, _, err := client.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype), server.Addr())
	if err != nil {
		t.Fatalf("ask for %s over %s: %v", name, network, err)
	}
	return answer
}

func TestRecordsAreServedOverUDPAndTCPAndCounted(t *testing.T) {
	server := start(t)
	server.SetA("quiz.example", 5*time.Second, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1"))
	for _, network := range []string{"udp", "tcp"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			answer := ask(t, server, network, "QUIZ.example", qtype)
			if len(answer.Answer) != 1 || answer.Answer[0].Header().Ttl != 5 || !answer.Authoritative {
				t.Errorf("%s: %v", network, answer)
			}
		}
	}
	if n := server.Queries("quiz.example", dns.TypeA); n != 2 {
		t.Errorf("%d queries for A, want 2", n)
	}
}

func TestRecordsChangeWhileTheServerRuns(t *testing.T) {
	server := start(t)
	for want, change := range []func(){
		func() {},
		func() { server.SetA("quiz.example", time.Second, netip.MustParseAddr("10.0.0.1")) },
		func() {
			server.SetA("quiz.example", time.Second, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"))
		},
	} {
		change()
		if answer := ask(t, server, "udp", "quiz.example", dns.TypeA); len(answer.Answer) != want {
			t.Errorf("want %d records: %v", want, answer)
		}
	}
}

func TestNothingIsToldFromNoSuchName(t *testing.T) {
	server := start(t)
	server.SetA("quiz.example", time.Second)
	for name, rcode := range map[string]int{"quiz.example": dns.RcodeSuccess, "elsewhere.example": dns.RcodeNameError} {
		answer := ask(t, server, "udp", name, dns.TypeA)
		if answer.Rcode != rcode || len(answer.Answer) > 0 || len(answer.Ns) != 1 {
			t.Errorf("%s: %v", name, answer)
		}
	}
	server.Remove("quiz.example")
	if answer := ask(t, server, "udp", "quiz.example", dns.TypeA); answer.Rcode != dns.RcodeNameError {
		t.Errorf("after Remove: %v", answer)
	}
}

func TestAnSRVAnswerBringsTheAddressesOfItsTargets(t *testing.T) {
	server := start(t)
	server.SetSRV("_grpc._tcp.quiz.example", time.Second, dnstest.SRV{Target: "quiz-0.quiz.example", Port: 9090})
	server.SetA("quiz-0.quiz.example", time.Second, netip.MustParseAddr("10.0.0.1"))
	answer := ask(t, server, "udp", "_grpc._tcp.quiz.example", dns.TypeSRV)
	if len(answer.Answer) != 1 || len(answer.Extra) != 1 {
		t.Errorf("%v", answer)
	}
	server.Break(dnstest.NoAdditional)
	if answer := ask(t, server, "udp", "_grpc._tcp.quiz.example", dns.TypeSRV); len(answer.Extra) != 0 {
		t.Errorf("%v", answer)
	}
}

func TestAnAliasBringsWhatItStandsForAlong(t *testing.T) {
	server := start(t)
	server.SetCNAME("quiz.example", time.Second, "db.example")
	server.SetA("db.example", time.Second, netip.MustParseAddr("10.0.0.1"))
	if answer := ask(t, server, "udp", "quiz.example", dns.TypeA); len(answer.Answer) != 2 {
		t.Errorf("%v", answer)
	}
	server.SetCNAME("db.example", time.Second, "quiz.example") // a loop ends
	if answer := ask(t, server, "udp", "quiz.example", dns.TypeA); len(answer.Answer) == 0 {
		t.Errorf("%v", answer)
	}
}

func TestAnAnswerThatDoesNotFitUDPIsTruncated(t *testing.T) {
	server := start(t)
	var addrs []netip.Addr
	for i := range 200 {
		addrs = append(addrs, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	server.SetA("quiz.example", time.Second, addrs...)
	if answer := ask(t, server, "udp", "quiz.example", dns.TypeA); !answer.Truncated {
		t.Error("not truncated over UDP")
	}
	if answer := ask(t, server, "tcp", "quiz.example", dns.TypeA); answer.Truncated || len(answer.Answer) != 200 {
		t.Errorf("%d records over TCP", len(answer.Answer))
	}
}

func TestFaultsShowOnTheWireUntilTheyAreHealed(t *testing.T) {
	server := start(t)
	server.SetA("quiz.example", time.Second, netip.MustParseAddr("10.0.0.1"))
	query := new(dns.Msg).SetQuestion("quiz.example.", dns.TypeA)
	for name, test := range map[string]struct {
		fault dnstest.Fault
		shows func(raw []byte, answer *dns.Msg, unpacked error) bool
	}{
		"Fail": {dnstest.Fail(dns.RcodeRefused), func(_ []byte, m *dns.Msg, err error) bool {
			return err == nil && m.Rcode == dns.RcodeRefused
		}},
		"Truncate": {dnstest.Truncate, func(_ []byte, m *dns.Msg, err error) bool {
			return err == nil && m.Truncated && len(m.Answer) == 0
		}},
		"TruncateAll": {dnstest.TruncateAll, func(_ []byte, m *dns.Msg, err error) bool {
			return err == nil && m.Truncated
		}},
		"WrongQuestion": {dnstest.WrongQuestion, func(_ []byte, m *dns.Msg, err error) bool {
			return err == nil && m.Question[0].Name != "quiz.example."
		}},
		"WrongID": {dnstest.WrongID, func(_ []byte, m *dns.Msg, err error) bool {
			return err == nil && m.Id != query.Id
		}},
		"CutShort": {dnstest.CutShort, func(raw []byte, m *dns.Msg, _ error) bool {
			return int(raw[7]) == 2 && len(m.Answer) < 2
		}},
		"BadCompression": {dnstest.BadCompression, func(_ []byte, _ *dns.Msg, err error) bool {
			return err != nil
		}},
	} {
		server.Break(test.fault)
		raw, err := exchangeRaw(server, query, 10*time.Second)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		answer := new(dns.Msg)
		if unpacked := answer.Unpack(raw); !test.shows(raw, answer, unpacked) {
			t.Errorf("%s does not show: %v, %v", name, answer, unpacked)
		}
	}
	server.Break(dnstest.Mute)
	if _, err := exchangeRaw(server, query, 20*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Mute: %v", err)
	}
	server.Heal()
	if answer := ask(t, server, "udp", "quiz.example", dns.TypeA); len(answer.Answer) != 1 {
		t.Errorf("healed: %v", answer)
	}
}

func TestAServerMayRefuseEDNSAlone(t *testing.T) {
	server := start(t)
	server.SetA("quiz.example", time.Second, netip.MustParseAddr("10.0.0.1"))
	server.Break(dnstest.RefuseEDNS(dns.RcodeFormatError))
	if answer := ask(t, server, "udp", "quiz.example", dns.TypeA); len(answer.Answer) != 1 {
		t.Errorf("without EDNS0: %v", answer)
	}
	query := new(dns.Msg).SetQuestion("quiz.example.", dns.TypeA).SetEdns0(1232, false)
	if answer, err := dns.Exchange(query, server.Addr()); err != nil || answer.Rcode != dns.RcodeFormatError || len(answer.Answer) > 0 {
		t.Errorf("with EDNS0: %v, %v", answer, err)
	}
}

func TestAllThatIsAskedForIsListed(t *testing.T) {
	server := start(t)
	ask(t, server, "udp", "quiz.example", dns.TypeSRV)
	ask(t, server, "tcp", "Quiz.example", dns.TypeA)
	ask(t, server, "udp", "quiz.example", dns.TypeA)
	if got, want := server.Asked(), []string{"quiz.example. A", "quiz.example. SRV"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func exchangeRaw(server *dnstest.Server, query *dns.Msg, patience time.Duration) ([]byte, error) {
	conn, err := net.Dial("udp", server.Addr())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	raw, err := query.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(raw); err != nil {
		return nil, err
	}
	buffer := make([]byte, dns.MinMsgSize)
	n, err := conn.Read(buffer)
	return buffer[:n], err
}

func TestCloseMayBeCalledAgain(t *testing.T) {
	server := start(t)
	server.Close()
	server.Close()
}

func Example() {
	server, err := dnstest.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	server.SetA("quiz.kiada.svc.cluster.local", 5*time.Second, netip.MustParseAddr("10.0.0.1"))

	query := new(dns.Msg).SetQuestion("quiz.kiada.svc.cluster.local.", dns.TypeA)
	answer, err := dns.Exchange(query, server.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, rr := range answer.Answer {
		fmt.Println(rr)
	}
	// Output: quiz.kiada.svc.cluster.local.	5	IN	A	10.0.0.1
}
