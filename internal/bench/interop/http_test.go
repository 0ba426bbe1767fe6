//go:build linux

package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/static"
)

// A kind is a kind of request.
type kind int

const (
	get        kind = iota
	post            // with GetBody, as http.NewRequest sets it
	oneShot         // a POST whose body can be read once only, as that of a proxy
	kindsCount      // how many there are
)

func (k kind) String() string { return [...]string{"GET", "POST", "one-shot POST"}[k] }

// A httpTest is a test of one server over one version of HTTP.
type httpTest struct {
	pods []*pod
	h2c  bool // HTTP/2 without TLS, and else HTTP/1
	// postsMayFail says that the server breaks connections off without a word on
	// what it has processed, so that a POST that is on its way cannot be sent again.
	// GET can, always, and so can what the server says that it has not processed.
	postsMayFail bool
	// workers is how many requests of each kind there are at a time from no
	// distance; from far away there are more. The default is 2.
	workers int
}

func (h *httpTest) run(t *testing.T) {
	var ways []*way
	var clients [][2]*httpClient
	for _, distance := range distances {
		w := newWay(t, h.pods, distance)
		ways = append(ways, w)
		clients = append(clients, [2]*httpClient{h.sidestep(t, w), h.transport(t, w)})
	}
	var all crowd
	for i, w := range ways {
		for _, c := range clients[i] {
			for k := range kindsCount {
				for range h.workersFrom(w.distance) {
					all.add(func() { c.tallies[k].add(c.ask(k)) })
				}
			}
		}
	}
	all.disturb(t, h.pods, ways)
	all.end()
	for i, w := range ways {
		ours, theirs := clients[i][0], clients[i][1]
		what := fmt.Sprintf("%v away", w.distance)
		for k := range kindsCount {
			compare(t, fmt.Sprintf("%s: %v", what, k), k == get || !h.postsMayFail, &ours.tallies[k], &theirs.tallies[k])
			checkNeedless(t, fmt.Sprintf("%s: %v", what, k), &ours.tallies[k])
		}
		checkOnce(t, what, ours)
		checkBalancer(t, w.target(), "http", what)
	}
}

func (h *httpTest) workersFrom(distance time.Duration) int {
	n := h.workers
	if n == 0 {
		n = 2
	}
	if distance >= 10*time.Millisecond {
		n *= 4
	}
	return n
}

// base is what both clients are made of.
func (h *httpTest) base() *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(!h.h2c)
	protocols.SetUnencryptedHTTP2(h.h2c)
	return &http.Transport{Protocols: &protocols, MaxIdleConnsPerHost: 100, IdleConnTimeout: 90 * time.Second}
}

// A httpClient is a client with its failures.
type httpClient struct {
	name    string
	way     *way
	rt      http.RoundTripper
	tallies [kindsCount]tally
	last    atomic.Int64 // number of the last request
}

func (h *httpTest) sidestep(t *testing.T, w *way) *httpClient {
	target, err := discovery.ParseTarget(w.target())
	if err != nil {
		t.Fatal(err)
	}
	base := h.base()
	transport := httpbalancer.New(httpbalancer.Config{
		Source: static.Source{}, Base: base, Protocols: base.Protocols,
		Target: func(*url.URL) (discovery.Target, bool) { return target, true },
	})
	t.Cleanup(func() { transport.Close() })
	return &httpClient{name: newName(), way: w, rt: transport}
}

// transport returns a http.Transport that connects to one pod after the other,
// and to another where one refuses.
func (h *httpTest) transport(t *testing.T, w *way) *httpClient {
	base := h.base()
	var turn atomic.Uint64
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		var last error
		first := turn.Add(1)
		for i := range uint64(len(w.addrs)) {
			c, err := dialer.DialContext(ctx, network, w.addrs[(first+i)%uint64(len(w.addrs))])
			if err == nil {
				return c, nil
			}
			last = err
		}
		return nil, last
	}
	t.Cleanup(base.CloseIdleConnections)
	return &httpClient{name: newName(), way: w, rt: base}
}

// patience is how long a request may take. What takes longer would hang.
const patience = 10 * time.Second

// ask sends one request and checks its answer.
func (c *httpClient) ask(k kind) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	body := fmt.Sprint(c.name, "/", c.last.Add(1)) + strings.Repeat(".", 1000)
	var trace balancer.Trace // the peer does not look at it
	resp, err := c.rt.RoundTrip(newRequest(balancer.WithTrace(ctx, &trace), k, body))
	if err != nil {
		return c.way.withAttempts(err, &trace)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("the body of the answer: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the server answered %s", resp.Status)
	case k != get && string(answer) != body:
		return fmt.Errorf("the server answered %.20q… to %.20q…", answer, body)
	}
	return nil
}

// withAttempts adds to an error where the request was sent, and what came of it.
func (w *way) withAttempts(err error, trace *balancer.Trace) error {
	attempts := trace.Attempts()
	if len(attempts) < 2 {
		return err
	}
	for _, a := range attempts {
		err = fmt.Errorf("%w; at pod %c: %w", err, 'A'+rune(slices.Index(w.addrs, a.Backend.Addr.String())), a.Err)
	}
	return err
}

func newRequest(ctx context.Context, k kind, body string) *http.Request {
	const where = "http://quiz.kiada/echo"
	if k == get {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
		return req
	}
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, where, strings.NewReader(body))
	if k == oneShot {
		req.Body, req.GetBody = io.NopCloser(req.Body), nil
	}
	return req
}

// newOrigin starts the server behind the proxies: it takes a moment and echoes.
func newOrigin(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(echo)}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the proxy has given up
	}
	if r.Method == http.MethodPost {
		id, _, _ := strings.Cut(string(body), ".")
		processed.mu.Lock()
		processed.times[id]++
		processed.mu.Unlock()
	}
	<-time.After(2 * time.Millisecond)
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.Write(body)
}

// processed counts the POSTs that servers in this process got. Those in front of
// them repeat none.
var processed = struct {
	mu    sync.Mutex
	times map[string]int // by the client's name and the number of the request; guarded by mu
}{times: map[string]int{}}

var names atomic.Int64

func newName() string { return fmt.Sprint(names.Add(1)) }

// checkOnce checks that no POST of a client was processed twice.
func checkOnce(t *testing.T, what string, c *httpClient) {
	t.Helper()
	processed.mu.Lock()
	defer processed.mu.Unlock()
	for id, n := range processed.times {
		if name, _, _ := strings.Cut(id, "/"); name == c.name && n > 1 {
			t.Errorf("%s: POST %s was processed %d times", what, id, n)
		}
	}
}
