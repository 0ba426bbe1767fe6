package httpbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// attemptSchedules is how many are tried. SIDESTEP_SCHEDULES, a number, is for more.
const attemptSchedules = 300

// Pods, connections and callers fail at random moments, many of them at the same
// ones. Whatever happens, each request ends once, each attempt ends, bodies are
// closed once, and nothing is left.
func TestEachAttemptEndsOnceWhateverHappensWhen(t *testing.T) {
	n := attemptSchedules
	if text := os.Getenv("SIDESTEP_SCHEDULES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	log.SetOutput(io.Discard) // net/http complains of what the pods do
	defer log.SetOutput(os.Stderr)
	for seed := range n {
		synctest.Test(t, func(t *testing.T) { runAttempts(t, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("in schedule %d", seed)
		}
	}
}

// moments are few, so that things happen at the same time.
func moment(random *rand.Rand) time.Duration {
	return time.Duration(random.IntN(6)) * 10 * time.Millisecond
}

// A wildPod does something else with each connection and each request.
type wildPod struct {
	mu        sync.Mutex
	random    *rand.Rand // guarded by mu
	protocols *http.Protocols
	going     sync.WaitGroup
}

func (p *wildPod) draw(n int) (int, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.random.IntN(n), moment(p.random)
}

func (p *wildPod) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	what, when := p.draw(10)
	if what < 5 {
		select {
		case <-time.After(when):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if what == 0 {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	client, server := net.Pipe()
	l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- &closeNotifier{Conn: server, closed: sync.OnceFunc(func() { close(l.closed) })}
	s := &http.Server{Protocols: p.protocols, Handler: p, ErrorLog: log.New(io.Discard, "", 0)}
	if p.protocols != nil {
		s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 2}
	}
	go s.Serve(l)
	switch what {
	case 1:
		time.AfterFunc(when, func() { server.Close() })
	case 2: // GOAWAY, over HTTP/2
		p.going.Go(func() {
			time.Sleep(when) // of virtual time
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			s.Shutdown(ctx)
		})
	}
	return client, nil
}

func (p *wildPod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what, when := p.draw(12)
	if what%2 == 0 {
		io.Copy(io.Discard, r.Body)
	}
	time.Sleep(when) // of virtual time
	switch what {
	case 0, 1:
		panic(http.ErrAbortHandler)
	case 2, 3:
		w.WriteHeader(http.StatusServiceUnavailable)
	case 4, 5:
		w.Write(make([]byte, 5000))
		w.(http.Flusher).Flush()
		time.Sleep(when) // of virtual time
		panic(http.ErrAbortHandler)
	case 6:
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "14")
		io.WriteString(w, "message")
	default:
		w.Write(make([]byte, 5000))
	}
}

// runAttempts lets callers meet pods.
func runAttempts(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	pods := map[string]*wildPod{}
	var protocols *http.Protocols
	if random.IntN(2) == 0 {
		protocols = h2c()
	}
	addrs := []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}[:1+random.IntN(3)]
	for i, addr := range addrs {
		pods[addr] = &wildPod{random: rand.New(rand.NewPCG(seed, uint64(i+1))), protocols: protocols}
	}
	config := httpbalancer.Config{
		Source:    at(addrs...),
		Protocols: protocols,
		Balancer:  balancer.Config{Policy: []string{balancer.RoundRobin, balancer.Adaptive, balancer.LeastRequest}[random.IntN(3)]},
		Base: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return pods[addr].dial(ctx, network, addr)
			},
			MaxConnsPerHost:       random.IntN(3),
			ResponseHeaderTimeout: moment(random),
		},
		Retry: httpbalancer.Retry{TryTimeout: moment(random), Statuses: [][]int{nil, {503}}[random.IntN(2)]},
	}
	if random.IntN(4) == 0 {
		config.Hedge.Percentile = 50
	}
	attempts := &ends{t: t}
	config.Traced = attempts.traced
	transport := httpbalancer.New(config)
	var callers sync.WaitGroup
	n := 1 + random.IntN(6)
	for i := range n {
		r := rand.New(rand.NewPCG(seed, uint64(10+i)))
		callers.Go(func() { runCaller(t, r, transport) })
	}
	callers.Wait()
	synctest.Wait()
	time.Sleep(time.Second) // of virtual time
	synctest.Wait()
	if got := transport.InFlight(); got != 0 {
		t.Errorf("%d in flight though all requests have ended", got)
	}
	began := time.Now()
	transport.Close()
	if took := time.Since(began); took > 2*time.Second { // as long as a dial may take
		t.Errorf("Close took %v with nothing to wait for", took)
	}
	for _, p := range pods {
		p.going.Wait()
	}
	if got := attempts.requests.Load(); got > int64(n) {
		t.Errorf("%d requests were told of, and %d made", got, n)
	}
}

// ends looks at what is told of requests.
type ends struct {
	t        *testing.T
	requests atomic.Int64
}

func (e *ends) traced(_ context.Context, trace *balancer.Trace) {
	e.requests.Add(1)
	if attempts := trace.Attempts(); len(attempts) > 100 {
		e.t.Errorf("%d attempts for one request", len(attempts))
	}
}

// runCaller makes one request and ends it somehow.
func runCaller(t *testing.T, random *rand.Rand, transport http.RoundTripper) {
	time.Sleep(moment(random)) // of virtual time
	var content io.Reader
	b := (*body)(nil)
	pipe := (*io.PipeWriter)(nil)
	switch random.IntN(5) {
	case 0:
		b = newBody(strings.Repeat("x", random.IntN(100_000)))
		content = b
	case 1:
		content = strings.NewReader("in memory")
	case 2:
		var r *io.PipeReader
		r, pipe = io.Pipe()
		content = r
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	end := 10*time.Millisecond + moment(random)
	switch random.IntN(5) {
	case 0:
		ctx, cancel = context.WithTimeout(ctx, end)
		defer cancel()
	case 1:
		time.AfterFunc(end, cancel)
	case 2:
		cancel()
	}
	method := []string{http.MethodGet, http.MethodPost, http.MethodPut}[random.IntN(3)]
	req, err := http.NewRequestWithContext(ctx, method, "http://quiz.kiada/", content)
	if err != nil {
		t.Error(err)
		return
	}
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	if random.IntN(3) == 0 {
		client.Timeout = end
	}
	piped := make(chan struct{})
	if pipe != nil {
		writeAt := moment(random)
		go func() {
			defer close(piped)
			time.Sleep(writeAt)                     // of virtual time
			_, err := io.WriteString(pipe, "piped") // until somebody has read it, or the reader is closed
			pipe.CloseWithError(errors.Join(err, io.EOF))
		}()
	} else {
		close(piped)
	}
	resp, err := client.Do(req)
	if err == nil {
		switch random.IntN(3) {
		case 0:
			io.Copy(io.Discard, resp.Body)
		case 1:
			io.CopyN(io.Discard, resp.Body, 10)
		}
		time.Sleep(moment(random)) // of virtual time
		resp.Body.Close()
		resp.Body.Close()
	}
	<-piped // or all goroutines of the test hang, which is an error, too
	if b != nil {
		time.Sleep(time.Second) // of virtual time
		if got := b.closes.Load(); got != 1 {
			t.Errorf("%s: the body was closed %d times (%s)", method, got, fmt.Sprint(err))
		}
	}
}
