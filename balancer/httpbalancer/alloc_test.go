//go:build !race

package httpbalancer_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// A request takes no more allocations than one through an http.Transport. All that is
// counted is in this process, the server's part, too. Under the race detector, sync.Pool
// forgets what it holds, at random.
func TestARequestTakesNoMoreAllocationsThanWithHTTPTransport(t *testing.T) {
	bodies := map[string]func(req *http.Request){
		"GET":             func(*http.Request) {},
		"POST in memory":  func(req *http.Request) { setBody(req, io.NopCloser(bytes.NewReader([]byte("hello")))) },
		"POST, sent once": func(req *http.Request) { setBody(req, io.NopCloser(onceBody("hello"))) },
	}
	for protocol, protocols := range over {
		for name, set := range bodies {
			t.Run(protocol+", "+name, func(t *testing.T) {
				pod := startWith(t, "quiz-0", nil, protocols())
				plain := &http.Transport{Protocols: protocols()}
				t.Cleanup(plain.CloseIdleConnections)
				want := allocationsOf(t, plain, "http://"+pod.addr+"/", set)
				got := allocationsOf(t, newTransport(t, httpbalancer.Config{Source: serving(pod), Protocols: protocols()}), "http://quiz.kiada/", set)
				t.Logf("%.0f allocations, http.Transport's %.0f", got, want)
				if got > want+1 { // how bytes come in differs from run to run
					t.Errorf("%.0f allocations, http.Transport's %.0f", got, want)
				}
			})
		}
	}
}

func setBody(req *http.Request, body io.ReadCloser) {
	req.Method, req.Body, req.ContentLength = http.MethodPost, body, 5
}

func allocationsOf(t *testing.T, rt http.RoundTripper, url string, set func(req *http.Request)) float64 {
	return testing.AllocsPerRun(500, func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		set(req)
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	})
}
