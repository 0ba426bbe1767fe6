package httpbalancer_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// fails answers with a status.
func fails(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, "no")
	}
}

// traced returns a request, and what will be known of its attempts.
func traced(t testing.TB, method, url string, body io.Reader) (*http.Request, *balancer.Trace) {
	t.Helper()
	trace := new(balancer.Trace)
	req, err := http.NewRequestWithContext(balancer.WithTrace(t.Context(), trace), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req, trace
}

// reasons returns why there were attempts.
func reasons(trace *balancer.Trace) (why []balancer.Reason) {
	for _, a := range trace.Attempts() {
		why = append(why, a.Reason)
	}
	return why
}

// The wish of many: which backend served this, and why was it asked?
func TestATraceTellsAllAttempts(t *testing.T) {
	dead, breaking, good := gone(t, "quiz-0"), start(t, "quiz-1", breaks), start(t, "quiz-2", nil)
	transport := newTransport(t, httpbalancer.Config{Source: serving(dead, breaking, good)})
	var all []balancer.Reason
	for range 3 {
		req, trace := traced(t, http.MethodGet, "http://quiz.kiada/", nil)
		read(t)((&http.Client{Transport: transport}).Do(req))
		attempts := trace.Attempts()
		last := attempts[len(attempts)-1]
		if last.Backend.Pod != "quiz-2" || last.Status != http.StatusOK || last.Err != nil || last.Took <= 0 || last.Began.IsZero() {
			t.Errorf("the last attempt: %+v", last)
		}
		for _, a := range attempts[:len(attempts)-1] {
			if a.Err == nil || a.Status != 0 || a.Took <= 0 {
				t.Errorf("an attempt that failed: %+v", a)
			}
		}
		all = append(all, reasons(trace)...)
	}
	for _, want := range []balancer.Reason{"", balancer.NotSent, balancer.Broken} {
		if !slices.Contains(all, want) {
			t.Errorf("no attempt for the reason %q among %q", want, all)
		}
	}
}

// rudder-server#5451: own retries for 503.
func TestChosenStatusesAreAReasonToAskAnotherPod(t *testing.T) {
	for _, tt := range []struct {
		name     string
		statuses []int
		req      func() (*http.Request, *balancer.Trace)
		want     int
		attempts int
	}{
		{"by default none", nil, func() (*http.Request, *balancer.Trace) {
			return traced(t, http.MethodGet, "http://quiz.kiada/", nil)
		}, 503, 1},
		{"GET", []int{502, 503}, func() (*http.Request, *balancer.Trace) {
			return traced(t, http.MethodGet, "http://quiz.kiada/", nil)
		}, 200, 2},
		{"POST", []int{503}, func() (*http.Request, *balancer.Trace) {
			return traced(t, http.MethodPost, "http://quiz.kiada/", strings.NewReader("hello"))
		}, 503, 1},
		{"POST with an Idempotency-Key", []int{503}, func() (*http.Request, *balancer.Trace) {
			req, trace := traced(t, http.MethodPost, "http://quiz.kiada/", strings.NewReader("hello"))
			req.Header.Set("Idempotency-Key", "1")
			return req, trace
		}, 200, 2},
		{"POST with an Idempotency-Key and a body that is spent", []int{503}, func() (*http.Request, *balancer.Trace) {
			req, trace := traced(t, http.MethodPost, "http://quiz.kiada/", onceBody("hello"))
			req.Header.Set("Idempotency-Key", "1")
			return req, trace
		}, 503, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad, good := start(t, "quiz-0", fails(503)), start(t, "quiz-1", echo)
			transport := newTransport(t, httpbalancer.Config{Source: serving(bad, good), Retry: httpbalancer.Retry{Statuses: tt.statuses}})
			for bad.requests.Load() == 0 {
				req, trace := tt.req()
				resp, err := (&http.Client{Transport: transport}).Do(req)
				read(t)(resp, err)
				if bad.requests.Load() == 0 {
					continue // it met the good one first
				}
				if resp.StatusCode != tt.want || len(trace.Attempts()) != tt.attempts {
					t.Errorf("status %d after %d attempts, want %d after %d", resp.StatusCode, len(trace.Attempts()), tt.want, tt.attempts)
				}
				if tt.attempts > 1 && trace.Attempts()[1].Reason != balancer.Answer {
					t.Errorf("the reason was %q", trace.Attempts()[1].Reason)
				}
			}
			if n := transport.InFlight(); n != 0 {
				t.Errorf("%d in flight", n)
			}
		})
	}
}

func TestWhenAllPodsAnswerWithAChosenStatusTheCallerGetsTheLast(t *testing.T) {
	pods := []*server{start(t, "quiz-0", fails(503)), start(t, "quiz-1", fails(503)), start(t, "quiz-2", fails(503))}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Retry: httpbalancer.Retry{Statuses: []int{503}}})
	resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
	if got := read(t)(resp, err); resp.StatusCode != http.StatusServiceUnavailable || got != "no" {
		t.Errorf("status %d, body %q", resp.StatusCode, got)
	}
	for _, pod := range pods {
		if n := pod.requests.Load(); n != 1 {
			t.Errorf("%s got %d requests, want 1", pod.name, n)
		}
	}
}

// The connections of answers that nobody wants are used again.
func TestAnswersThatAreDiscardedAreDrainedAndClosed(t *testing.T) {
	bad, good := start(t, "quiz-0", fails(503)), start(t, "quiz-1", nil)
	transport := newTransport(t, httpbalancer.Config{
		Source:   serving(bad, good),
		Balancer: balancer.Config{Policy: balancer.RoundRobin, MaxEjectedPercent: -1},
		Retry:    httpbalancer.Retry{Statuses: []int{503}},
	})
	for range 40 {
		get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
	}
	if n := bad.openConns(); n != 1 {
		t.Errorf("%d connections for %d answers that were discarded, want 1", n, bad.requests.Load())
	}
}

// Pitfall 14 and asecurityteam/transport#25: a limit for one try must not end
// the body of its answer.
func TestATryThatTakesTooLongIsMadeElsewhere(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	slow, good := start(t, "quiz-0", waits(release)), start(t, "quiz-1", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "be")
		w.(http.Flusher).Flush()
		<-time.After(60 * time.Millisecond) // longer than a try may take to answer
		io.WriteString(w, "gun")
	})
	transport := newTransport(t, httpbalancer.Config{Source: serving(slow, good), Retry: httpbalancer.Retry{TryTimeout: 30 * time.Millisecond}})
	for slow.requests.Load() == 0 {
		req, trace := traced(t, http.MethodGet, "http://quiz.kiada/", nil)
		if got := read(t)((&http.Client{Transport: transport}).Do(req)); got != "begun" {
			t.Errorf("answer %q", got)
		}
		if why := reasons(trace); slow.requests.Load() > 0 && !slices.Equal(why, []balancer.Reason{"", balancer.TryTimeout}) {
			t.Errorf("attempts for the reasons %q", why)
		}
	}
	eventually(t, "nothing is in flight", func() bool { return transport.InFlight() == 0 })
}

func TestATryOfARequestThatMayNotBeRepeatedIsNotCutShort(t *testing.T) {
	pods := []*server{start(t, "quiz-0", slowly), start(t, "quiz-1", slowly)}
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: serving(pods...), Retry: httpbalancer.Retry{TryTimeout: 10 * time.Millisecond}})}
	if got := read(t)(client.Post("http://quiz.kiada/", "text/plain", strings.NewReader("hello"))); got != "slow" {
		t.Errorf("answer %q", got)
	}
	if n := pods[0].requests.Load() + pods[1].requests.Load(); n != 1 {
		t.Errorf("the POST was sent %d times", n)
	}
}

// slowly answers after a while.
func slowly(w http.ResponseWriter, _ *http.Request) {
	<-time.After(50 * time.Millisecond)
	io.WriteString(w, "slow")
}

func TestMaxAttempts(t *testing.T) {
	pods := []*server{start(t, "quiz-0", breaks), start(t, "quiz-1", breaks), start(t, "quiz-2", breaks), start(t, "quiz-3", breaks)}
	for _, n := range []int{1, 3} {
		client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: serving(pods...), Retry: httpbalancer.Retry{MaxAttempts: n}})}
		req, trace := traced(t, http.MethodGet, "http://quiz.kiada/", nil)
		mustFail(t, io.EOF)(client.Do(req))
		if got := len(trace.Attempts()); got != n {
			t.Errorf("%d attempts, want %d", got, n)
		}
	}
}

// Kitex' lesson in pitfall 11: a retry asks for the pods that there are now.
func TestARetryTakesAFreshSnapshot(t *testing.T) {
	s := newSource()
	young := start(t, "quiz-1", nil)
	var transport *httpbalancer.Transport
	old := start(t, "quiz-0", func(http.ResponseWriter, *http.Request) {
		s.publish(young)
		eventually(t, "the new endpoints are known", func() bool { return slices.Equal(transport.Pods(), []string{"quiz-1"}) })
		panic(http.ErrAbortHandler)
	})
	s.publish(old)
	transport = newTransport(t, httpbalancer.Config{Source: s})
	if got := get(t, &http.Client{Transport: transport}, "http://quiz.kiada/"); got != "quiz-1" {
		t.Errorf("served by %q", got)
	}
}

func TestWhatAStatusMeansCanBeSaid(t *testing.T) {
	pods := []*server{start(t, "quiz-0", fails(http.StatusNotFound)), start(t, "quiz-1", nil)}
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(pods...),
		Outcome: func(resp *http.Response) health.Outcome {
			if resp.StatusCode == http.StatusNotFound {
				return health.Failure
			}
			return httpbalancer.StatusOutcome(resp.StatusCode)
		},
	})
	for range 40 {
		status(t, transport, "http://quiz.kiada/")
	}
	if n := transport.Fit(); n != 1 {
		t.Errorf("%d pods are fit, want 1", n)
	}
}

func TestImpossibleRetriesAndOtherSettingsAreErrorsThatNameTheField(t *testing.T) {
	for field, config := range map[string]httpbalancer.Config{
		"Retry.MaxAttempts": {Retry: httpbalancer.Retry{MaxAttempts: -1}},
		"Retry.Statuses":    {Retry: httpbalancer.Retry{Statuses: []int{200}}},
		"Retry.TryTimeout":  {Retry: httpbalancer.Retry{TryTimeout: -1}},
		"Hedge.Percentile":  {Hedge: httpbalancer.Hedge{Percentile: 100}},
		"MaxConnAge":        {MaxConnAge: -1},
		"SetCookie":         {SetCookie: &http.Cookie{}},
	} {
		config.Source = newSource()
		transport := httpbalancer.New(config)
		_, err := transport.RoundTrip(post(t, "http://quiz.kiada/", http.NoBody))
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v", field, err)
		}
		transport.Close()
	}
}

func TestAHedgeIsSentWhenTheAnswerTakesLongerThanMost(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	pods := []*server{start(t, "quiz-0", waits(release)), start(t, "quiz-1", echo)}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Hedge: httpbalancer.Hedge{Percentile: 90}})
	transport.Observe(200, time.Millisecond)
	client := &http.Client{Transport: transport}
	eventually(t, "a request was hedged", func() bool {
		req, trace := traced(t, http.MethodGet, "http://quiz.kiada/", strings.NewReader("hello"))
		if got := read(t)(client.Do(req)); got != "hello" {
			t.Fatalf("answer %q", got)
		}
		return slices.Contains(reasons(trace), balancer.Hedged)
	})
	eventually(t, "the request that lost has ended", func() bool { return transport.InFlight() == 0 })
	if n := transport.Fit(); n != 2 {
		t.Errorf("%d backends in rotation, want 2", n)
	}
}

// A POST may not be sent twice, and there are no hedges before there is anything
// to go by.
func TestWhatIsNotHedged(t *testing.T) {
	var seen tally
	count := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen.add(string(body))
		slowly(w, r)
	}
	pods := []*server{start(t, "quiz-0", count), start(t, "quiz-1", count)}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Hedge: httpbalancer.Hedge{Percentile: 50}})
	transport.Observe(200, time.Millisecond)
	for i := range 4 {
		req, trace := traced(t, http.MethodPost, "http://quiz.kiada/", strings.NewReader(fmt.Sprint(i)))
		read(t)((&http.Client{Transport: transport}).Do(req))
		if n := len(trace.Attempts()); n != 1 {
			t.Errorf("%d attempts for a POST", n)
		}
	}
	seen.mustHaveNoDoubles(t)
}

func TestHedgesOfATransportThatIsClosed(t *testing.T) {
	release := make(chan struct{})
	pods := []*server{start(t, "quiz-0", waits(release)), start(t, "quiz-1", waits(release))}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Hedge: httpbalancer.Hedge{Percentile: 50}})
	transport.Observe(200, time.Millisecond)
	answers := make(chan error, 20)
	for range cap(answers) {
		go func() {
			resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
			if err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			answers <- err
		}()
	}
	eventually(t, "requests are in flight", func() bool { return transport.InFlight() > 2 })
	go close(release)
	transport.Close()
	for range cap(answers) {
		if err := <-answers; err != nil && !errors.Is(err, discovery.ErrClosed) {
			t.Error(err)
		}
	}
}
