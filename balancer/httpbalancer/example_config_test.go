package httpbalancer_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/static"
	"github.com/sidestep-lb/sidestep/health"
)

// shop serves the handlers as the pods of http://shop, so that the examples need
// no cluster.
func shop(config httpbalancer.Config, handlers ...http.HandlerFunc) (transport *httpbalancer.Transport, closeAll func()) {
	var servers []*httptest.Server
	var addrs []string
	for _, h := range handlers {
		s := httptest.NewServer(h)
		servers, addrs = append(servers, s), append(addrs, s.Listener.Addr().String())
	}
	target, err := discovery.ParseTarget("static:///" + strings.Join(addrs, ","))
	if err != nil {
		panic(err)
	}
	config.Source = static.Source{}
	config.Target = func(u *url.URL) (discovery.Target, bool) { return target, u.Host == "shop" }
	transport = httpbalancer.New(config)
	return transport, func() {
		transport.Close()
		for _, s := range servers {
			s.Close()
		}
	}
}

// greet answers.
func greet(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }

// overloaded has too much to do.
func overloaded(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "5")
	w.WriteHeader(http.StatusServiceUnavailable)
}

// Another pod is asked when one is overloaded, or takes more than a second.
func ExampleRetry() {
	transport, closeAll := shop(httpbalancer.Config{
		Retry: httpbalancer.Retry{Statuses: []int{http.StatusServiceUnavailable}, TryTimeout: time.Second},
	}, overloaded, greet)
	defer closeAll()

	for range 3 {
		resp, err := (&http.Client{Transport: transport}).Get("http://shop/")
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	// Output:
	// 200 OK
	// 200 OK
	// 200 OK
}

// One request in twenty is asked of a second pod, if it is idempotent.
func ExampleHedge() {
	transport, closeAll := shop(httpbalancer.Config{Hedge: httpbalancer.Hedge{Percentile: 95}}, greet, greet)
	defer closeAll()

	resp, err := (&http.Client{Transport: transport}).Get("http://shop/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

func ExampleConfig_trace() {
	transport, closeAll := shop(httpbalancer.Config{
		Balancer: balancer.Config{Policy: balancer.RoundRobin},
		Retry:    httpbalancer.Retry{Statuses: []int{http.StatusServiceUnavailable}},
	}, overloaded, overloaded, overloaded)
	defer closeAll()

	var trace balancer.Trace
	req, _ := http.NewRequestWithContext(balancer.WithTrace(context.Background(), &trace), http.MethodGet, "http://shop/", nil)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	for i, a := range trace.Attempts() {
		// a.Backend is the endpoint, a.Took how long it took.
		fmt.Printf("%d. attempt %q: %d\n", i+1, a.Reason, a.Status)
	}
	// Output:
	// 1. attempt "": 503
	// 2. attempt "answer": 503
	// 3. attempt "answer": 503
}

// To this client, a pod that finds nothing has lost its database.
func ExampleStatusOutcome() {
	_, closeAll := shop(httpbalancer.Config{
		Outcome: func(resp *http.Response) health.Outcome {
			if resp.StatusCode == http.StatusNotFound {
				return health.Failure
			}
			return httpbalancer.StatusOutcome(resp.StatusCode)
		},
	}, greet)
	defer closeAll()
	fmt.Println(httpbalancer.StatusOutcome(http.StatusNotFound), httpbalancer.StatusOutcome(http.StatusBadGateway))
	// Output: success failure
}

// Users without a session get one, and stay with their pod.
func ExampleConfig_setCookie() {
	transport, closeAll := shop(httpbalancer.Config{
		Balancer:  balancer.Config{Policy: balancer.RingHash, HashKey: balancer.KeySource{Cookie: "session"}},
		SetCookie: &http.Cookie{Path: "/", HttpOnly: true, Secure: true},
	}, greet, greet)
	defer closeAll()

	resp, err := (&http.Client{Transport: transport}).Get("http://shop/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	cookie := resp.Cookies()[0]
	fmt.Println(cookie.Name, cookie.HttpOnly, cookie.Secure)
	// Output: session true true
}

// HTTP/2 without TLS, to a Service that does not declare it; connections that
// are made before they are needed, and anew every ten minutes or so.
func ExampleConfig_connections() {
	h2c := new(http.Protocols)
	h2c.SetUnencryptedHTTP2(true)
	transport := httpbalancer.New(httpbalancer.Config{
		Protocols:  h2c,
		WarmUp:     true,
		MaxConnAge: 10 * time.Minute,
	})
	fmt.Println(transport.Close())
	// Output: <nil>
}

// Every pod is to empty its cache.
func ExampleTransport_All() {
	transport, closeAll := shop(httpbalancer.Config{}, greet, greet, overloaded)
	defer closeAll()

	req, _ := http.NewRequest(http.MethodPost, "http://shop/flush", http.NoBody)
	answers, err := transport.All(req, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	statuses := map[string]int{}
	for a := range answers {
		if a.Err != nil {
			fmt.Println(a.Endpoint.Pod, a.Err)
			continue
		}
		statuses[a.Response.Status]++
	}
	fmt.Println(statuses)
	// Output: map[200 OK:2 503 Service Unavailable:1]
}
