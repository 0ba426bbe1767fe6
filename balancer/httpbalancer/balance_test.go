package httpbalancer_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
)

func TestEachPodGetsAnEqualShare(t *testing.T) {
	pods := []*server{start(t, "quiz-0", nil), start(t, "quiz-1", nil), start(t, "quiz-2", nil)}
	client := newClient(t, serving(pods...))

	for range 300 {
		get(t, client, "http://quiz.kiada/")
	}
	for _, pod := range pods {
		if n := pod.requests.Load(); n != 100 {
			t.Errorf("%s got %d requests of 300, want 100", pod.name, n)
		}
		if n := pod.openConns(); n != 1 {
			t.Errorf("%s has %d connections, want 1", pod.name, n)
		}
	}
}

func TestNamesOfOneServiceShareItsConnections(t *testing.T) {
	pod := start(t, "quiz-0", nil)
	transport := newTransport(t, httpbalancer.Config{Source: &canonical{source: serving(pod)}})
	client := &http.Client{Transport: transport}

	for _, host := range []string{"quiz", "quiz.kiada", "quiz.kiada.svc", "quiz.kiada.svc.cluster.local"} {
		get(t, client, "http://"+host)
	}
	if n := transport.Pools(); n != 1 {
		t.Errorf("%d pools, want 1", n)
	}
}

// canonical is a source in namespace kiada.
type canonical struct{ *source }

func (*canonical) Canonical(t discovery.Target) discovery.Target {
	t.Namespace, t.Domain = "kiada", ""
	return t
}

func TestAPodThatRefusesConnectionsFailsNoRequestAndIsPassedOverUntilItListensAgain(t *testing.T) {
	alive, dead := start(t, "quiz-0", nil), gone(t, "quiz-1")
	s := serving(alive, dead)
	transport := newTransport(t, httpbalancer.Config{Source: s})
	client := &http.Client{Transport: transport}

	for range 100 {
		if got := get(t, client, "http://quiz.kiada/"); got != "quiz-0" {
			t.Fatalf("served by %s", got)
		}
	}
	if n := transport.Fit(); n != 1 {
		t.Errorf("%d backends in rotation, want 1", n)
	}
	if s.refreshes.Load() == 0 {
		t.Error("the source was not told that a connection failed")
	}

	dead.restart(t)
	eventually(t, "both are in rotation", func() bool { return transport.Fit() == 2 })
	eventually(t, "quiz-1 serves", func() bool { return get(t, client, "http://quiz.kiada/") == "quiz-1" })
}

func TestWhenNoPodCanBeReachedTheErrorNamesServiceAndPodAndTheyAreTriedAgain(t *testing.T) {
	dead := gone(t, "quiz-0")
	client := newClient(t, serving(dead))

	text := mustFail(t, syscall.ECONNREFUSED)(client.Get("http://quiz.kiada/"))
	for _, want := range []string{"quiz.kiada", "quiz-0", dead.addr} {
		if !strings.Contains(text, want) {
			t.Errorf("error %q does not name %s", text, want)
		}
	}
	dead.restart(t)
	get(t, client, "http://quiz.kiada/") // at once: with nobody fit, everybody is used
}

func TestAnEmptyServiceFailsAtOnceAndServesAgainWhenPodsCome(t *testing.T) {
	s := serving()
	client := newClient(t, s)

	began := time.Now()
	text := mustFail(t, discovery.ErrNoEndpoints)(client.Get("http://quiz.kiada/"))
	if !strings.Contains(text, "quiz.kiada") {
		t.Errorf("error %q does not name the Service", text)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}

	s.publish(start(t, "quiz-0", nil))
	eventually(t, "served again", func() bool {
		resp, err := client.Get("http://quiz.kiada/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

func TestTheFirstEndpointsAreWaitedForAsLongAsTheContextLasts(t *testing.T) {
	s := newSource()
	s.fail(errors.New("API server: no route to host"))
	client := newClient(t, s)
	b := newBody("hello")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()

	text := mustFail(t, context.DeadlineExceeded)(client.Do(post(t, "http://quiz.kiada.svc/", b).WithContext(ctx)))
	if !strings.Contains(text, "no route to host") {
		t.Errorf("error %q does not say what it waited for", text)
	}
	b.mustBeClosedOnce(t)

	done := make(chan string)
	go func() { done <- get(t, client, "http://quiz.kiada.svc/") }()
	s.publish(start(t, "quiz-0", nil))
	if got := <-done; got != "quiz-0" {
		t.Errorf("served by %s", got)
	}
}

func TestATimeoutLooksLikeOneToHTTPClients(t *testing.T) {
	client := newClient(t, newSource())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada.svc/", nil)

	_, err := client.Do(req)
	var timeout interface{ Timeout() bool }
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is no time-out", err)
	}
}

func TestPermanentErrorsOfDiscoveryAreReturnedAtOnce(t *testing.T) {
	s := newSource()
	s.fail(discovery.ErrForbidden)
	mustFail(t, discovery.ErrForbidden)(newClient(t, s).Get("http://quiz.kiada.svc/"))
}

func TestAnInvalidConfigFailsRequestsWithTheNameOfTheField(t *testing.T) {
	for field, config := range map[string]httpbalancer.Config{
		"policy":       {Balancer: balancer.Config{Policy: "roulette"}},
		"SubsetSize":   {Selection: selection.Config{SubsetSize: -1}},
		"SubsetPeers":  {Selection: selection.Config{SubsetPeers: "shop"}},
		"DrainTimeout": {DrainTimeout: -time.Second},
	} {
		config.Source = newSource()
		transport := httpbalancer.New(config)
		b := newBody("hello")
		_, err := transport.RoundTrip(post(t, "http://quiz.kiada/", b))
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("error %v does not name the field %s", err, field)
		}
		b.mustBeClosedOnce(t)
		transport.Close()
	}
}

func TestAnImpossibleConfigIsAnErrorOfNewTransport(t *testing.T) {
	for want, config := range map[string]httpbalancer.Config{
		`httpbalancer config: Balancer: policy: "roulette" is unknown`: {Balancer: balancer.Config{Policy: "roulette"}},
		`httpbalancer config: Selection: SubsetSize: -1 is negative`:   {Selection: selection.Config{SubsetSize: -1}},
		`httpbalancer config: MaxConnAge: -1s is negative`:             {MaxConnAge: -time.Second},
		`httpbalancer config: Retry.MaxAttempts: -1 is negative`:       {Retry: httpbalancer.Retry{MaxAttempts: -1}},
		`httpbalancer config: Hedge.Percentile: 100 `:                  {Hedge: httpbalancer.Hedge{Percentile: 100}},
		`httpbalancer config: Probe.Timeout: -1s is negative`:          {Probe: &httpbalancer.Probe{Timeout: -time.Second}},
	} {
		transport, err := httpbalancer.NewTransport(config)
		if transport != nil || err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "config: ") != 1 {
			t.Errorf("got %v, %v, want an error that begins with %q", transport, err, want)
		}
	}
	transport, err := httpbalancer.NewTransport(httpbalancer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	transport.Close()
}

func TestASubsetOfTheEndpointsIsUsed(t *testing.T) {
	pods := []*server{start(t, "quiz-0", nil), start(t, "quiz-1", nil), start(t, "quiz-2", nil)}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Selection: selection.Config{SubsetSize: 2}})

	for range 30 {
		get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
	}
	used := 0
	for _, pod := range pods {
		if pod.requests.Load() > 0 {
			used++
		}
	}
	if used != 2 {
		t.Errorf("%d pods were used, want 2", used)
	}
}

func TestZoneHintsCountForTheOwnZone(t *testing.T) {
	t.Setenv("SIDESTEP_ZONE", "b")
	near, far := start(t, "near", nil), start(t, "far", nil)
	here, there := near.endpoint(), far.endpoint()
	here.Hints.Zones, there.Hints.Zones = []string{"b"}, []string{"a"}
	s := newSource()
	s.set(discovery.View{Snapshot: discovery.NewSnapshot([]discovery.Endpoint{here, there})})
	client := newClient(t, s)
	for range 20 {
		get(t, client, "http://quiz.kiada/")
	}
	if n := far.requests.Load(); n != 0 {
		t.Errorf("%d of 20 requests went to the other zone", n)
	}
}
