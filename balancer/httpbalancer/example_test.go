package httpbalancer_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
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

	transport, err := httpbalancer.NewTransport(config)
	if err != nil {
		fmt.Println(err)
		return
	}
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

// Requests of one session go to one server, by a cookie or by a key in the
// context.
func ExampleConfig_hashKey() {
	var servers []string
	for name := range 3 {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
		defer server.Close()
		servers = append(servers, server.Listener.Addr().String())
	}
	target, err := discovery.ParseTarget("static:///" + strings.Join(servers, ","))
	if err != nil {
		fmt.Println(err)
		return
	}
	transport := httpbalancer.New(httpbalancer.Config{
		Source:   static.Source{},
		Target:   func(*url.URL) (discovery.Target, bool) { return target, true },
		Balancer: balancer.Config{Policy: balancer.RingHash, HashKey: balancer.KeySource{Cookie: "session"}},
	})
	defer transport.Close()

	byCookie, _ := http.NewRequest(http.MethodGet, "http://quiz.example.com/", nil)
	byCookie.AddCookie(&http.Cookie{Name: "session", Value: "0b5f9a1c"})
	byContext, _ := http.NewRequestWithContext(balancer.WithKey(context.Background(), "0b5f9a1c"), http.MethodGet, "http://quiz.example.com/", nil)
	var answers []string
	for _, req := range []*http.Request{byCookie, byCookie, byContext} {
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		answers = append(answers, string(answer))
	}
	fmt.Println(answers[0] == answers[1], answers[0] == answers[2])
	// Output: true true
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

// A program that ends gives its requests some time, and no more.
func ExampleTransport_Shutdown() {
	transport := httpbalancer.New(httpbalancer.Config{Name: "checkout"})
	// ... http.Client{Transport: transport}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println(transport.Shutdown(ctx))
	// Output: <nil>
}

// An impossible config is an error that names the field.
func ExampleNewTransport() {
	_, err := httpbalancer.NewTransport(httpbalancer.Config{DrainTimeout: -time.Second})
	fmt.Println(err)
	// Output: httpbalancer config: DrainTimeout: -1s is negative
}
