package httpbalancer_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
	"github.com/sidestep-lb/sidestep/discovery/static"
)

// In a pod, httpbalancer.Config{} is all there is to it. Here the API server is
// one for tests, and the pod a server on this machine.
func Example() {
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s for %s", r.URL.Path, r.Host)
	}))
	defer pod.Close()
	cluster := kubetest.Start()
	defer cluster.Close()
	addr := netip.MustParseAddrPort(pod.Listener.Addr().String())
	cluster.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"http": 80}))
	cluster.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-abc12", kubetest.Ports{"http": int32(addr.Port())},
		kubetest.Ready(addr.Addr().String(), "quiz-0")))
	config := httpbalancer.Config{
		Source: kube.New(kube.Config{Host: cluster.URL(), Client: cluster.Client(), AllowLocalAddresses: true}),
	}

	transport := httpbalancer.New(config)
	defer transport.Close()
	client := &http.Client{Transport: transport}
	resp, err := client.Get("http://quiz.kiada/questions")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
	// Output: /questions for quiz.kiada
}

// Without Kubernetes: requests to one host go to a list of addresses.
func ExampleConfig_target() {
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s for %s", r.URL.Path, r.Host)
	}))
	defer pod.Close()
	target, err := discovery.ParseTarget("static:///" + pod.Listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	transport := httpbalancer.New(httpbalancer.Config{
		Source: static.Source{},
		Target: func(u *url.URL) (discovery.Target, bool) { return target, u.Host == "quiz.example.com" },
	})
	defer transport.Close()

	resp, err := (&http.Client{Transport: transport}).Get("http://quiz.example.com/questions")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(string(body))
	// Output: /questions for quiz.example.com
}

func ExampleServiceTarget() {
	for _, text := range []string{"http://quiz.kiada/", "https://quiz.kiada.svc.cluster.local:8443", "http://www.example.com/"} {
		u, _ := url.Parse(text)
		if target, ok := httpbalancer.ServiceTarget(u); ok {
			fmt.Println(target)
		} else {
			fmt.Println(u.Host, "is no Service")
		}
	}
	// Output:
	// k8s:///quiz.kiada:80
	// k8s:///quiz.kiada.svc.cluster.local:8443
	// www.example.com is no Service
}
