package httpbalancer_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// slice is an EndpointSlice that holds one pod; pods on one loopback address
// differ by their ports, which are a slice's.
func slice(t *testing.T, pod *server) kubetest.EndpointSlice {
	host, portText, _ := strings.Cut(pod.addr, ":")
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	return kubetest.Slice("kiada", "quiz", pod.name, kubetest.Ports{"http": int32(port)}, kubetest.Ready(host, pod.name))
}

func TestRequestsFollowTheEndpointSlicesOfAService(t *testing.T) {
	cluster := kubetest.Start()
	defer cluster.Close()
	first, second := start(t, "quiz-0", nil), start(t, "quiz-1", nil)
	cluster.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"http": 80}))
	cluster.SetEndpointSlice(slice(t, first))

	var used bool
	source := kube.New(kube.Config{Host: cluster.URL(), Client: cluster.Client(), Namespace: "kiada", AllowLocalAddresses: true})
	transport := httpbalancer.NewWithLookup(httpbalancer.Config{Source: source, Base: through(&used)},
		func(context.Context, string) (bool, error) { return false, errors.New("no DNS here") })
	closeAtEnd(t, transport)
	client := &http.Client{Transport: transport}

	if got := get(t, client, "http://quiz/"); got != "quiz-0" {
		t.Errorf("served by %s", got)
	}
	cluster.SetEndpointSlice(slice(t, second))
	eventually(t, "the second slice counts", func() bool { return get(t, client, "http://quiz.kiada/") == "quiz-1" })
	cluster.DeleteEndpointSlice("kiada", "quiz-0")
	eventually(t, "the first is gone", func() bool { return transport.Fit() == 1 })
	cluster.Outage()
	for range 10 {
		if got := get(t, client, "http://quiz.kiada.svc/"); got != "quiz-1" {
			t.Errorf("served by %s", got)
		}
	}
	if transport.Pools() != 1 {
		t.Errorf("%d watches for one Service", transport.Pools())
	}
	if err := cluster.Restore(); err != nil {
		t.Fatal(err)
	}

	if got := get(t, client, "http://example.com/"); got != "base" {
		t.Errorf("example.com was served by %s", got)
	}
	mustFail(t, discovery.ErrServiceNotFound)(client.Get("http://example.com.svc/"))
}
