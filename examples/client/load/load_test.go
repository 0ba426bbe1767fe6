package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/examples/client/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runLoad returns the result of a run from its start to its end.
func runLoad(ctx context.Context, way *Way, rate float64, length, timeout time.Duration) result.Result {
	l := newLoad(way, rate, timeout)
	l.keepLatencies = true
	return l.result(l.run(ctx, length))
}

// asking makes a way of a function.
func asking(ask func(context.Context) (string, error)) *Way { return &Way{Ask: ask} }

// A connectionKey leads from a request's context to the net.Conn that it came on.
type connectionKey struct{}

// serveHTTP starts an HTTP server and returns the way to it.
func serveHTTP(t *testing.T, method string, handler http.HandlerFunc) *Way {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, c)
	}
	server.Start()
	t.Cleanup(server.Close)
	way := HTTP(&http.Transport{}, method, server.URL)
	t.Cleanup(way.Close)
	return way
}

func TestResultCountsEveryRequestOnceAndSurvivesJSON(t *testing.T) {
	var n atomic.Int64
	way := serveHTTP(t, http.MethodGet, func(w http.ResponseWriter, _ *http.Request) {
		i := n.Add(1)
		if i%10 == 0 {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, `{"pod": "quiz-%d"}`, i%2)
	})
	got := runLoad(t.Context(), way, 200, 500*time.Millisecond, time.Second)
	if got.Requests != int(n.Load()) || got.Requests < 50 {
		t.Errorf("%d requests counted, %d served", got.Requests, n.Load())
	}
	ok := got.Pods["quiz-0"].Requests + got.Pods["quiz-1"].Requests
	if ok+got.Failed != got.Requests || got.Failed != got.Requests/10 || got.Kinds[result.Unavailable].Count != got.Failed || len(got.Failures) != got.Failed {
		t.Errorf("%d answered and %d failed of %d: %+v", ok, got.Failed, got.Requests, got.Kinds)
	}
	inTime, failed := got.Between(got.Started, got.Ended.Add(time.Second))
	if inTime["quiz-0"]+inTime["quiz-1"] != ok || failed != got.Failed {
		t.Errorf("the timeline holds %v and %d failures", inTime, failed)
	}
	if l := got.Latency; l.P50 <= 0 || l.P50 > l.P90 || l.P99 > l.P999 || l.P999 > l.Max {
		t.Errorf("latencies are not in order: %+v", l)
	}
	if all := got.LatencyBetween(got.Started, got.Ended.Add(time.Second)); all != got.Latency {
		t.Errorf("the timeline says %+v, the whole %+v", all, got.Latency)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var back result.Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back.Kinds, got.Kinds) || back.Requests != got.Requests || len(back.Timeline) != len(got.Timeline) {
		t.Errorf("after JSON: %+v", back)
	}
}

func TestSlowAnswersDelayNoOtherRequest(t *testing.T) {
	way := asking(func(ctx context.Context) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	got := runLoad(t.Context(), way, 200, 500*time.Millisecond, 300*time.Millisecond)
	if got.Requests < 90 || got.Kinds[result.Deadline].Count != got.Requests {
		t.Errorf("%d requests, want 100, all of them late: %+v", got.Requests, got.Kinds)
	}
	for _, f := range got.Failures {
		if f.Took < 290 {
			t.Errorf("a request ended after %v ms", f.Took)
		}
	}
	if l := got.LatencyBetween(got.Started, got.Ended); l.P50 < 290 {
		t.Errorf("what had no answer in time counts as %v ms", l.P50)
	}
}

func TestConnectionsAreCountedOnce(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		var n atomic.Int64
		var used sync.Map // the connections that a request came on
		way := serveHTTP(t, method, func(w http.ResponseWriter, r *http.Request) {
			used.Store(r.Context().Value(connectionKey{}), true)
			body, err := io.ReadAll(r.Body)
			if want := method == http.MethodPost; err != nil || (len(body) > 0) != want || (r.ContentLength < 0) != want {
				t.Errorf("%s: a body of %d bytes, announced as %d: %v", method, len(body), r.ContentLength, err)
			}
			if n.Add(1)%50 == 0 {
				w.Header().Set("Connection", "close")
			}
			fmt.Fprint(w, `{"pod": "quiz-0"}`)
		})
		got := runLoad(t.Context(), way, 200, time.Second, time.Second)
		want := 0
		for range used.Range {
			want++
		}
		if got.Failed > 0 || got.Connections != want || want < got.Requests/50 {
			t.Errorf("%s: %d failed of %d requests; %d connections counted, the server had requests on %d, and ended one with every 50th",
				method, got.Failed, got.Requests, got.Connections, want)
		}
	}
}

func TestRunEndsEarlyWithWhatItHas(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	got := runLoad(ctx, asking(func(context.Context) (string, error) { return "quiz-0", nil }), 100, time.Hour, time.Second)
	if got.Requests < 5 || got.Ended.Sub(got.Started) > 10*time.Second {
		t.Errorf("%d requests in %v", got.Requests, got.Ended.Sub(got.Started))
	}
}

func TestResultSoFarIsThereWhileTheRunGoesOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := newLoad(asking(func(context.Context) (string, error) { return "quiz-0", nil }), 500, time.Second)
	var running sync.WaitGroup
	running.Go(func() { l.run(ctx, time.Minute) })
	defer running.Wait()
	defer cancel()
	for before := 0; before < 100; {
		r := l.result(time.Now())
		if n := r.Pods["quiz-0"].Requests; n != r.Requests || n < before {
			t.Fatalf("%d requests, %d of them answered, earlier %d", r.Requests, n, before)
		}
		before = r.Requests
	}
}

func TestLongListsOfFailuresAreCutAndCounted(t *testing.T) {
	text := strings.Repeat("x", 10*maxText)
	got := runLoad(t.Context(), asking(func(context.Context) (string, error) { return "", errors.New(text) }), 5000, 200*time.Millisecond, time.Second)
	if got.Failed <= result.MaxFailures || len(got.Failures) != result.MaxFailures {
		t.Errorf("%d failures, %d listed", got.Failed, len(got.Failures))
	}
	if n := len(got.Kinds[result.Other].First); n > maxText+3 {
		t.Errorf("the text has %d bytes", n)
	}
}

func TestFailuresAreTold(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	cut := serveHTTP(t, http.MethodGet, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	})
	_, cutErr := cut.Ask(t.Context())
	_, refusedErr := HTTP(&http.Transport{}, http.MethodGet, "http://"+closed.Addr().String()).Ask(t.Context())
	cutPost := serveHTTP(t, http.MethodPost, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	_, sentErr := cutPost.Ask(t.Context())
	_, unsentErr := HTTP(&http.Transport{}, http.MethodPost, "http://"+closed.Addr().String()).Ask(t.Context())
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, lateErr := cut.Ask(late)

	for _, c := range []struct {
		err  error
		want result.Kind
	}{
		{cutErr, result.Reset},
		{refusedErr, result.Refused},
		{sentErr, result.Sent},
		{unsentErr, result.Refused},
		{lateErr, result.Deadline},
		{fmt.Errorf("k8s:///quiz.kiada: %w", discovery.ErrNoEndpoints), result.NoEndpoints},
		{status.Error(codes.Unavailable, "k8s:///quiz.kiada: "+discovery.ErrNoEndpoints.Error()), result.NoEndpoints},
		{status.Error(codes.Unavailable, "headless:///quiz.kiada: "+discovery.ErrServiceNotFound.Error()), result.NoEndpoints},
		{status.Error(codes.DeadlineExceeded, "context deadline exceeded"), result.Deadline},
		{status.Error(codes.Unavailable, "dial tcp 10.0.0.1:9090: connect: connection refused"), result.Refused},
		{status.Error(codes.Unavailable, "error reading from server: EOF"), result.Reset},
		{status.Error(codes.Unavailable, "pod quiz-0 fails as its knob says"), result.Unavailable},
		{status.Error(codes.Internal, "oops"), result.Other},
		{errTooMany, result.Other},
	} {
		if kind, text := classify(c.err); kind != c.want || text == "" || strings.HasPrefix(text, "Get ") {
			t.Errorf("%v: %s, %q; want %s", c.err, kind, text, c.want)
		}
	}
}
