package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/examples/quiz"
)

// A server is one pod: its servers and its knobs.
type server struct {
	pod    string
	http   *http.Server
	grpc   *grpc.Server
	aged   *grpc.Server // ends connections of some age
	health *health.Server
	work   func(context.Context, time.Duration) error // set before the first request

	stopped chan struct{} // closed when the stop begins

	mu       sync.Mutex
	knobs    knobs       // guarded by mu
	stopping bool        // guarded by mu
	death    *time.Timer // guarded by mu; nil while no death is set
}

func newServer(pod string, k knobs, maxAge time.Duration) *server {
	s := &server{
		pod: pod, knobs: k, health: health.NewServer(), work: capacity{}.work(), stopped: make(chan struct{}),
		grpc: grpc.NewServer(),
		aged: grpc.NewServer(grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: maxAge})),
	}
	for _, registrar := range []*grpc.Server{s.grpc, s.aged} {
		quiz.Register(registrar, s)
		healthpb.RegisterHealthServer(registrar, s.health)
	}
	s.reportHealth(k.Ready)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /questions", s.serveQuestion)
	mux.HandleFunc("POST /questions", s.serveQuestion)
	mux.HandleFunc("GET /subscription", s.serveSubscription)
	mux.HandleFunc("GET /readyz", s.serveReady)
	mux.HandleFunc("GET /knobs", s.serveKnobs)
	mux.HandleFunc("POST /knobs", s.serveKnobs)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetHTTP2(true)
	s.http.Protocols.SetUnencryptedHTTP2(true)
	return s
}

// listeners are the ports of a server. Those that are nil are not served.
type listeners struct {
	http, https, grpc, aged net.Listener

	certificate, key string // files, for https
}

// serve starts the servers. The channel receives the error of one that ends by
// itself.
func (s *server) serve(l listeners) <-chan error {
	failed := make(chan error, 4)
	start := func(l net.Listener, serve func() error) {
		if l == nil {
			return
		}
		go func() {
			if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
				failed <- err
			}
		}()
	}
	start(l.http, func() error { return s.http.Serve(l.http) })
	start(l.https, func() error { return s.http.ServeTLS(l.https, l.certificate, l.key) })
	start(l.grpc, func() error { return s.grpc.Serve(l.grpc) })
	start(l.aged, func() error { return s.aged.Serve(l.aged) })
	return failed
}

// stop ends the server as a good citizen does: it is no longer ready, accepts
// no connection, tells its clients to leave, ends subscriptions, and waits for
// the requests in flight, but not longer than limit.
func (s *server) stop(limit time.Duration) {
	s.mu.Lock()
	if !s.stopping {
		s.stopping = true
		close(s.stopped)
	}
	s.mu.Unlock()
	s.health.Shutdown()

	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var drained sync.WaitGroup
	drained.Go(func() {
		if err := s.http.Shutdown(ctx); err != nil {
			s.http.Close()
		}
	})
	for _, server := range []*grpc.Server{s.grpc, s.aged} {
		drained.Go(func() {
			cut := context.AfterFunc(ctx, server.Stop)
			server.GracefulStop()
			cut()
		})
	}
	drained.Wait()
}

// kill ends the servers and all their connections at once, as SIGKILL would,
// but leaves the process, so that the container is not started again.
func (s *server) kill() {
	s.http.Close()
	s.grpc.Stop()
	s.aged.Stop()
}

// Question implements quiz.Server.
func (s *server) Question(ctx context.Context) (quiz.Answer, error) {
	s.mu.Lock()
	delay, fail := s.knobs.Delay, s.knobs.Fail
	s.mu.Unlock()
	answer := quiz.Answer{Pod: s.pod}
	if err := s.work(ctx, delay); err != nil {
		return answer, status.FromContextError(err).Err()
	}
	if rand.Float64() < fail {
		return answer, status.Error(codes.Unavailable, "pod "+s.pod+" fails as its knob says")
	}
	answer.Question = "Which pod answers next?"
	return answer, nil
}

func (s *server) serveQuestion(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return // the client has gone
	}
	answer, err := s.Question(r.Context())
	code := http.StatusOK
	if err != nil {
		answer.Error = status.Convert(err).Message()
		code = http.StatusServiceUnavailable
	}
	reply(w, code, answer)
}

// serveSubscription answers with the pod, and then says nothing more.
func (s *server) serveSubscription(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusOK, quiz.Answer{Pod: s.pod})
	if err := http.NewResponseController(w).Flush(); err != nil {
		return // the client has gone
	}
	select {
	case <-s.stopped:
	case <-r.Context().Done():
	}
}

func (s *server) serveReady(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	ready := s.knobs.Ready && !s.stopping
	s.mu.Unlock()
	if !ready {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
	}
}

func (s *server) reportHealth(ready bool) {
	state := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		state = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", state)
	s.health.SetServingStatus(quiz.ServiceName, state)
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no reply
}
