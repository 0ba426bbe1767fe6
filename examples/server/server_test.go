package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/examples/quiz"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A pod is a server on loopback and its clients.
type pod struct {
	*server
	url  string
	http *http.Client
	conn *grpc.ClientConn
}

func startPod(t *testing.T, k knobs) pod {
	t.Helper()
	s := newServer("quiz-0", k, time.Second)
	httpListener, grpcListener := listen(t), listen(t)
	served := s.serve(listeners{http: httpListener, grpc: grpcListener})
	conn, err := grpc.NewClient(grpcListener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		conn.Close()
		transport.CloseIdleConnections()
		s.kill()
		select {
		case err := <-served:
			t.Error(err)
		default:
		}
	})
	return pod{s, "http://" + httpListener.Addr().String(), &http.Client{Transport: transport}, conn}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// request returns the status and the body of a request, or its error.
func (p pod) request(method, path string) (int, string, error) {
	r, err := http.NewRequest(method, p.url+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	response, err := p.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func (p pod) post(t *testing.T, path string, want int) string {
	t.Helper()
	code, body, err := p.request("POST", path)
	if err != nil || code != want {
		t.Fatalf("POST %s: %d %q, %v; want %d", path, code, body, err, want)
	}
	return body
}

func TestEveryReplyNamesThePod(t *testing.T) {
	p := startPod(t, knobs{Ready: true})
	for _, fail := range []string{"0", "1"} {
		p.post(t, "/knobs?fail="+fail, http.StatusOK)
		code, body, err := p.request("GET", "/questions")
		if err != nil {
			t.Fatal(err)
		}
		var answer quiz.Answer
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatalf("body %q: %v", body, err)
		}
		if failed := code == http.StatusServiceUnavailable; answer.Pod != "quiz-0" || failed != (fail == "1") {
			t.Errorf("HTTP with fail=%s: %d %+v", fail, code, answer)
		}
		answer, err = quiz.Ask(t.Context(), p.conn)
		if failed := status.Code(err) == codes.Unavailable; answer.Pod != "quiz-0" || failed != (fail == "1") {
			t.Errorf("gRPC with fail=%s: %+v, %v", fail, answer, err)
		}
	}
}

func TestReadinessFollowsItsKnob(t *testing.T) {
	p := startPod(t, knobs{})
	check := func(code int, state healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		if got, _, err := p.request("GET", "/readyz"); err != nil || got != code {
			t.Errorf("/readyz: %d, %v; want %d", got, err, code)
		}
		health, err := healthpb.NewHealthClient(p.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: quiz.ServiceName})
		if err != nil || health.GetStatus() != state {
			t.Errorf("gRPC health: %v, %v; want %v", health.GetStatus(), err, state)
		}
	}
	check(http.StatusServiceUnavailable, healthpb.HealthCheckResponse_NOT_SERVING)
	p.post(t, "/knobs?ready=true", http.StatusOK)
	check(http.StatusOK, healthpb.HealthCheckResponse_SERVING)
}

func TestBadKnobsAreRefusedAndNothingIsSet(t *testing.T) {
	p := startPod(t, knobs{Ready: true})
	for query, want := range map[string]string{
		"ready=false&delay=soon": "knob delay",
		"ready=false&delay=-1s":  "less than 0",
		"ready=false&fail=NaN":   "not between 0 and 1",
		"ready=false&fail=1.5":   "not between 0 and 1",
		"ready=false&sing=true":  "known are ready, delay, fail and die",
	} {
		if body := p.post(t, "/knobs?"+query, http.StatusBadRequest); !strings.Contains(body, want) {
			t.Errorf("%s: %q does not say %q", query, body, want)
		}
	}
	if code, body, _ := p.request("GET", "/knobs"); code != http.StatusOK || strings.TrimSpace(body) != `{"ready":true,"delay":"0s","fail":0}` {
		t.Errorf("the knobs are now %s", body)
	}
}

func TestGracefulStopFinishesWhatIsInFlightAndAcceptsNothingNew(t *testing.T) {
	p := startPod(t, knobs{Ready: true, Delay: 500 * time.Millisecond})
	var inFlight, stopped sync.WaitGroup
	for range 20 {
		inFlight.Go(func() {
			if code, body, err := p.request("GET", "/questions"); err != nil || code != http.StatusOK {
				t.Errorf("HTTP request in flight: %d %q, %v", code, body, err)
			}
		})
		inFlight.Go(func() {
			if _, err := quiz.Ask(t.Context(), p.conn); err != nil {
				t.Errorf("gRPC request in flight: %v", err)
			}
		})
	}
	time.Sleep(200 * time.Millisecond) // the requests reach their handlers
	stopped.Go(func() { p.stop(5 * time.Second) })
	inFlight.Wait()
	stopped.Wait()
	if _, _, err := p.request("GET", "/readyz"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the stop, HTTP: %v", err)
	}
	if _, err := quiz.Ask(t.Context(), p.conn); status.Code(err) != codes.Unavailable {
		t.Errorf("after the stop, gRPC: %v", err)
	}
}

func TestStopIsBounded(t *testing.T) {
	p := startPod(t, knobs{Delay: time.Minute})
	var inFlight sync.WaitGroup
	inFlight.Go(func() {
		if _, _, err := p.request("GET", "/questions"); err == nil {
			t.Error("the HTTP request was not cut")
		}
	})
	inFlight.Go(func() {
		if _, err := quiz.Ask(t.Context(), p.conn); err == nil {
			t.Error("the gRPC request was not cut")
		}
	})
	time.Sleep(200 * time.Millisecond) // the requests reach their handlers
	start := time.Now()
	p.stop(200 * time.Millisecond)
	inFlight.Wait()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

func TestDeathComesWhenAnnouncedAndWithoutAWord(t *testing.T) {
	p := startPod(t, knobs{Ready: true, Delay: time.Minute})
	var cut sync.WaitGroup
	var ended time.Time
	cut.Go(func() {
		_, err := quiz.Ask(context.Background(), p.conn)
		ended = time.Now()
		if status.Code(err) != codes.Unavailable {
			t.Errorf("request in flight: %v", err)
		}
	})
	var k struct{ Dies time.Time }
	if err := json.Unmarshal([]byte(p.post(t, "/knobs?die=200ms", http.StatusOK)), &k); err != nil {
		t.Fatal(err)
	}
	cut.Wait()
	if late := ended.Sub(k.Dies); late < -time.Millisecond || late > 5*time.Second {
		t.Errorf("it died %v after the time it gave", late)
	}
	if _, _, err := p.request("GET", "/readyz"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after its death: %v", err)
	}
}

func TestWorkersBoundWhatIsWorkedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		work := capacity{workers: 2}.work()
		start := time.Now()
		var working sync.WaitGroup
		for range 6 {
			working.Go(func() {
				if err := work(t.Context(), time.Second); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		impatient, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := work(impatient, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request that waits for a worker until its deadline: %v", err)
		}
		working.Wait()
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("2 workers took %v for 6 requests of 1 s", took)
		}
	})
}

func TestSubscriptionLastsUntilTheServerStops(t *testing.T) {
	p := startPod(t, knobs{Ready: true})
	response, err := p.http.Get(p.url + "/subscription")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer quiz.Answer
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Pod != "quiz-0" {
		t.Fatalf("%+v, %v", answer, err)
	}
	var stopped sync.WaitGroup
	stopped.Go(func() { p.stop(time.Minute) }) // which waits for what is in flight
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Errorf("the subscription ended with %v", err)
	}
	stopped.Wait()
}
