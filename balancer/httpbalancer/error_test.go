package httpbalancer_test

import (
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

func TestAFailedRequestSaysWhereItWentAndHowOften(t *testing.T) {
	hangUp := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	pods := []*server{start(t, "quiz-0", hangUp), start(t, "quiz-1", hangUp)}
	client := newClient(t, serving(pods...))
	for method, attempts := range map[string]int{http.MethodGet: 2, http.MethodPost: 1} {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://quiz.kiada.svc/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		failed, ok := errors.AsType[*balancer.CallError](err)
		switch {
		case !ok:
			t.Errorf("%s: %v is no *balancer.CallError", method, err)
		case failed.Target != "k8s:///quiz.kiada:80" || failed.Attempts != attempts || failed.Endpoint == nil || failed.Err == nil:
			t.Errorf("%s: got %+v, want %d attempts", method, failed, attempts)
		case failed.Endpoint.Pod != "quiz-0" && failed.Endpoint.Pod != "quiz-1":
			t.Errorf("%s: the endpoint is %v", method, failed.Endpoint)
		}
	}
}

func TestARequestThatNoPodGotHasNoEndpointInItsError(t *testing.T) {
	s := newSource()
	s.publish()
	_, err := newClient(t, s).Get("http://quiz.kiada.svc/")
	failed, ok := errors.AsType[*balancer.CallError](err)
	if !ok || failed.Endpoint != nil || failed.Attempts != 0 || failed.Target != "k8s:///quiz.kiada:80" || !errors.Is(failed, discovery.ErrNoEndpoints) {
		t.Errorf("got %+v of %v", failed, err)
	}
}

func TestAnErrorOfAnotherHostIsNoCallError(t *testing.T) {
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: newSource(), Base: ignorant()})}
	_, err := client.Get("http://www.example.com/")
	if failed, ok := errors.AsType[*balancer.CallError](err); ok {
		t.Errorf("got %+v", failed)
	}
	if _, ok := errors.AsType[*net.DNSError](err); !ok {
		t.Errorf("got %v", err)
	}
}
