package httpbalancer_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// What goes wrong in load balancers made of http.Transports, and the tests that
// it does not here. Other tests refer to these numbers.
//
//	 1 the contract of http.RoundTripper   TestTheRequestsBodyIsClosedOnceWhateverHappens, TestResponsesKeepTheCallersRequest,
//	                                       TestEveryWaitEndsWithTheContext
//	 2 Host and :authority                 TestTheHostHeaderIsTheServices and the one after it
//	 3 TLS names                           TestTheTLSServerNameIsTheServices, TestConnectionsOfOneNameAreNotUsedForAnother
//	 4 HTTP/2 and connection limits        TestALimitOfConnectionsDoesNotHangWhenStreamsAreUsedUp, TestEachPodGetsAnEqualShare
//	 5 dead connections                    TestAnHTTP2ConnectionThatFallsSilentIsGivenUpIfPingsAreAskedFor
//	 6 a first look-up that fails          TestTheFirstEndpointsAreWaitedForAsLongAsTheContextLasts
//	 7 churn of idle connections, dials    TestConnectionsAreKeptAfterABurst, TestDialsThatNobodyWaitsForAreTakenUpByTheNext
//	 8 the end of a request                inflight_test.go, TestAForgottenBodyDelaysDrainingNoLongerThanTheDrainTimeout
//	 9 counts that updates lose            TestInFlightSurvivesUpdates
//	10 callers that give up                TestACallerThatGivesUpTakesNoBackendOutOfRotation, TestCallersThatGiveUpWhileBodiesComeAreHeldAgainstNobody
//	11 retries                             retry_test.go, stale_test.go, attempts_test.go, fault_test.go
//	12 coming back                         TestAnEjectedPodComesBackWhenItsProbeSucceeds, TestTheOnlyPodIsNeverEjected,
//	                                       TestABackendThatIsOutIsTriedLessAndLessOften
//	13 wrappers                            TestAWrappedTransportCloses, TestCloseIdleConnectionsIsForwarded
//	14 time-outs and bodies                TestATryThatTakesTooLongIsMadeElsewhere
//	15 storms                              TestNobodyIsAskedToLookAgainWithoutReason, TestConnectionsReachAnAge, TestAgesDiffer
//	16 rolling updates                     TestARollingRestartUnderLoadFailsNoRequest
//	17 health checks                       probe_test.go
//	18 seeds of hashes and subsets         TestRequestsWithTheSameKeyGoToTheSamePod, TestClientsThatKnowEachOtherShareOutThePods
//	19 watches                             TestTwoTransportsShareOneWatch, TestNamesOfOneServiceShareItsConnections

// Pitfall 1: prompt is prompt in every wait.
func TestEveryWaitEndsWithTheContext(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	busy := newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", streams(release))), Base: &http.Transport{MaxConnsPerHost: 1}})
	resp, err := (&http.Client{Transport: busy}).Get("http://quiz.kiada/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for name, transport := range map[string]*httpbalancer.Transport{
		"for endpoints":    newTransport(t, httpbalancer.Config{Source: newSource()}),
		"for a connection": busy,
		"for an answer":    newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", waits(release)))}),
	} {
		for _, cancelled := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			want := context.DeadlineExceeded
			if cancelled {
				cancel()
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(5*time.Millisecond, cancel)
				want = context.Canceled
			}
			b := newBody("hello")
			began := time.Now()
			resp, err := transport.RoundTrip(post(t, "http://quiz.kiada.svc/", b).WithContext(ctx))
			mustFail(t, want)(resp, err)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the wait %s took %v", name, took)
			}
			b.mustBeClosedOnce(t)
			cancel()
		}
	}
	if n := busy.InFlight(); n != 1 {
		t.Errorf("%d in flight, want 1", n)
	}
}

// Pitfall 12: the only host is better than none.
func TestTheOnlyPodIsNeverEjected(t *testing.T) {
	pod := start(t, "quiz-0", fails(http.StatusInternalServerError))
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod)})
	for range 30 {
		if got := status(t, transport, "http://quiz.kiada/"); got != http.StatusInternalServerError {
			t.Fatalf("status %d", got)
		}
	}
	if n := pod.requests.Load(); n != 30 || transport.Fit() != 1 {
		t.Errorf("it got %d requests and %d pods are fit", n, transport.Fit())
	}
}

// Pitfall 15. httplb asked DNS at its shortest interval for as long as there was
// one backend.
func TestNobodyIsAskedToLookAgainWithoutReason(t *testing.T) {
	s := serving(start(t, "quiz-0", nil))
	client := newClient(t, s)
	for range 50 {
		get(t, client, "http://quiz.kiada/")
	}
	if n := s.refreshes.Load(); n != 0 {
		t.Errorf("the source was asked %d times to look again", n)
	}
}

// Pitfall 15: what began together does not end together (httplb#60).
func TestAgesDiffer(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		age := httpbalancer.AgeOf(time.Minute)
		if age < 54*time.Second || age > 66*time.Second {
			t.Errorf("age %v of a minute", age)
		}
		seen[age.Round(time.Second)] = true
	}
	if len(seen) < 8 {
		t.Errorf("only %d different ages", len(seen))
	}
}

// Pitfall 19: the cost of watching is the API server's.
func TestTwoTransportsShareOneWatch(t *testing.T) {
	s := serving(start(t, "quiz-0", nil))
	for range 3 {
		get(t, newClient(t, s), "http://quiz.kiada/")
	}
	if n := s.watches.Load(); n != 1 {
		t.Errorf("%d watches, want 1", n)
	}
}

// In httplb the request of a response was one of a pool, and changed.
func TestTheRequestOfAResponseStaysWhatItIs(t *testing.T) {
	client := newClient(t, serving(start(t, "quiz-0", nil)))
	first, err := client.Get("http://quiz.kiada/first")
	read(t)(first, err)
	for range 10 {
		get(t, client, "http://quiz.kiada/second")
	}
	if got := first.Request.URL.String(); got != "http://quiz.kiada/first" {
		t.Errorf("the request of the first response is for %s now", got)
	}
}

// httplb forgot connections that were draining: Close returned before their
// requests had ended.
func TestCloseWaitsForPodsThatHaveLeft(t *testing.T) {
	release := make(chan struct{})
	s := serving(start(t, "quiz-0", streams(release)))
	transport := httpbalancer.New(httpbalancer.Config{Source: s})
	resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
	if err != nil {
		t.Fatal(err)
	}
	s.publish(start(t, "quiz-1", nil))
	eventually(t, "quiz-0 has left", func() bool { return transport.Fit() == 1 && transport.Pods()[0] == "quiz-1" })
	closed := mustNotClose(t, transport)
	close(release)
	if got := read(t)(resp, nil); got != "xreleased" {
		t.Errorf("the request in flight got %q", got)
	}
	<-closed
}

// httplb#61, #63: a new backend with nothing to do was chosen last of all.
func TestANewPodWithNothingToDoIsChosenAtOnce(t *testing.T) {
	release := make(chan struct{})
	old := start(t, "quiz-0", streams(release))
	s := serving(old)
	transport := newTransport(t, httpbalancer.Config{Source: s, Balancer: balancer.Config{Policy: balancer.LeastRequest, SlowStart: -1}})
	client := &http.Client{Transport: transport}
	var responses []*http.Response
	for range 10 {
		resp, err := client.Get("http://quiz.kiada/")
		if err != nil {
			t.Fatal(err)
		}
		responses = append(responses, resp)
	}
	s.publish(old, start(t, "quiz-1", nil))
	eventually(t, "the new pod is known", func() bool { return transport.Fit() == 2 })
	if got := get(t, client, "http://quiz.kiada/"); got != "quiz-1" {
		t.Errorf("the next request was served by %q", got)
	}
	close(release)
	for _, resp := range responses {
		read(t)(resp, nil)
	}
}

// In httplb a picker that goes by attributes did not hear of their changes.
func TestWeightsThatChangeCount(t *testing.T) {
	pods := []*server{start(t, "quiz-0", nil), start(t, "quiz-1", nil)}
	weigh := func(weight uint32) discovery.View {
		e := []discovery.Endpoint{pods[0].endpoint(), pods[1].endpoint()}
		e[1].Weight = weight
		return viewOf(e...)
	}
	s := newSource()
	s.set(weigh(1))
	transport := newTransport(t, httpbalancer.Config{Source: s, Balancer: balancer.Config{Policy: balancer.Weighted}})
	client := &http.Client{Transport: transport}
	for range 20 {
		get(t, client, "http://quiz.kiada/")
	}
	s.set(weigh(9))
	eventually(t, "the heavy one gets nine of ten", func() bool {
		before := pods[1].requests.Load()
		for range 100 {
			get(t, client, "http://quiz.kiada/")
		}
		return pods[1].requests.Load()-before >= 88
	})
}

// httplb#71, and the other settings of an http.Transport.
func TestTheBasesSettingsHoldForThePods(t *testing.T) {
	pod := start(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("Accept-Encoding")) })
	for want, base := range map[string]*http.Transport{"gzip": {}, "": {DisableCompression: true}} {
		client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: serving(pod), Base: base})}
		if got := get(t, client, "http://quiz.kiada/"); got != want {
			t.Errorf("Accept-Encoding %q, want %q", got, want)
		}
	}
}

// A body that is being made while it is sent, and longer than any buffer.
func TestAStreamedUploadArrivesWhole(t *testing.T) {
	whole := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}
	client := newClient(t, serving(gone(t, "quiz-0"), start(t, "quiz-1", whole)))
	for range 2 {
		r, w := io.Pipe()
		go func() {
			for range 1000 {
				io.WriteString(w, strings.Repeat("x", 100))
			}
			w.Close()
		}()
		if got := read(t)(client.Post("http://quiz.kiada/", "text/plain", r)); len(got) != 100_000 {
			t.Errorf("%d bytes came back", len(got))
		}
	}
}
