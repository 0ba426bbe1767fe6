package httpbalancer_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// ignorant is a base transport whose DNS knows no name.
func ignorant() *http.Transport {
	return &http.Transport{DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		host, _, _ := net.SplitHostPort(addr)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
	}}
}

func TestOutsideAClusterTheErrorSaysWhatIsMissingAndWhatToDo(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Base: ignorant()})}
	for _, host := range []string{"quiz", "quiz.kiada", "quiz.kiada.svc"} {
		resp, err := client.Get("http://" + host + "/")
		if err == nil {
			resp.Body.Close()
			t.Fatalf("%s is answered", host)
		}
		for _, want := range []string{"KUBERNETES_SERVICE_HOST is not set", "no service-account token", "kube.Config has no Host", "kubectl proxy", "http://127.0.0.1:8001"} {
			if strings.Count(err.Error(), want) != 1 {
				t.Errorf("%s: %v does not say %q once", host, err, want)
			}
		}
		if !errors.Is(err, discovery.ErrUnavailable) {
			t.Errorf("%s: %v is not ErrUnavailable", host, err)
		}
		if host == "quiz.kiada.svc" {
			continue // a Service beyond doubt, for which DNS is not asked
		}
		if unknown, ok := errors.AsType[*net.DNSError](err); !ok || !unknown.IsNotFound || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("%s: %v hides the error of DNS", host, err)
		}
	}
}

func TestAHostThatCannotBeAServiceHasTheErrorOfTheBaseTransport(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for host, config := range map[string]httpbalancer.Config{
		"www.example.com": {Base: ignorant()},
		"quiz.kiada":      {Base: ignorant(), Target: func(*url.URL) (discovery.Target, bool) { return discovery.Target{}, false }},
	} {
		client := &http.Client{Transport: newTransport(t, config)}
		if resp, err := client.Get("http://" + host + "/"); err == nil || strings.Contains(err.Error(), "KUBERNETES_SERVICE_HOST") {
			t.Errorf("%s: %v, %v", host, resp, err)
		}
	}
}

// This is what the error above advises. The API server for tests, like kubectl proxy,
// wants no token.
func TestOutsideAClusterAnAPIServerWithAHostWillDo(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	pod := start(t, "quiz-0", nil)
	cluster := kubetest.Start()
	defer cluster.Close()
	addr := netip.MustParseAddrPort(pod.addr)
	cluster.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"http": 80}))
	cluster.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-abc12", kubetest.Ports{"http": int32(addr.Port())},
		kubetest.Ready(addr.Addr().String(), "quiz-0")))
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{
		Source: kube.New(kube.Config{Host: cluster.URL(), AllowLocalAddresses: true}),
	})}
	get(t, client, "http://quiz.kiada/")
}
