package interplay

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"github.com/hashicorp/go-retryablehttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// pods is a source of servers.
type pods struct{ endpoints []discovery.Endpoint }

// Watch implements discovery.Source.
func (p *pods) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	r.Update(discovery.NewSnapshot(p.endpoints))
	<-ctx.Done()
}

func (p *pods) add(addr, appProtocol string) {
	name := fmt.Sprint("quiz-", len(p.endpoints))
	p.endpoints = append(p.endpoints, discovery.Endpoint{
		Addr: netip.MustParseAddrPort(addr), Pod: name, Ready: true, Serving: true, AppProtocol: appProtocol,
	})
}

// addGone adds a pod that refuses connections.
func (p *pods) addGone() {
	s := httptest.NewServer(nil)
	s.Close()
	p.add(s.Listener.Addr().String(), "")
}

func newTransport(t *testing.T, config httpbalancer.Config) *httpbalancer.Transport {
	config.Balancer.Policy = balancer.RoundRobin
	transport := httpbalancer.New(config)
	t.Cleanup(func() { transport.Close() })
	return transport
}

const procedure = "/quiz.v1.Quiz/Ask"

// quiz serves connect, gRPC and gRPC-Web: one answer, and a conversation.
func quiz(name string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(procedure, connect.NewUnaryHandler(procedure, func(_ context.Context, req *connect.Request[wrapperspb.StringValue]) (*connect.Response[wrapperspb.StringValue], error) {
		return connect.NewResponse(wrapperspb.String(name + " heard " + req.Msg.Value + " by " + req.Peer().Protocol)), nil
	}))
	mux.Handle(procedure+"All", connect.NewBidiStreamHandler(procedure+"All", func(_ context.Context, stream *connect.BidiStream[wrapperspb.StringValue, wrapperspb.StringValue]) error {
		for {
			m, err := stream.Receive()
			if err != nil {
				return nil //nolint:nilerr // it is the end
			}
			if err := stream.Send(m); err != nil {
				return err
			}
		}
	}))
	return mux
}

func TestConnect(t *testing.T) {
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	for _, way := range []string{"h2c", "TLS"} {
		t.Run(way, func(t *testing.T) {
			source, scheme := &pods{}, "http"
			base := http.DefaultTransport.(*http.Transport).Clone()
			for i := range 2 {
				s := httptest.NewUnstartedServer(quiz(fmt.Sprint("quiz-", i)))
				if way == "TLS" {
					s.EnableHTTP2 = true
					s.StartTLS()
					scheme = "https"
					base.TLSClientConfig = &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}
					source.add(s.Listener.Addr().String(), "")
				} else {
					s.Config.Protocols = &h2c
					s.Start()
					source.add(s.Listener.Addr().String(), "kubernetes.io/h2c")
				}
				defer s.Close()
			}
			source.addGone()
			source.endpoints[2].AppProtocol = source.endpoints[0].AppProtocol
			client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: source, Base: base})}
			for name, option := range map[string]connect.ClientOption{"connect": connect.WithClientOptions(), "grpc": connect.WithGRPC(), "grpcweb": connect.WithGRPCWeb()} {
				ask := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](client, scheme+"://quiz.kiada"+procedure, option)
				seen := map[string]bool{}
				for range 8 {
					answer, err := ask.CallUnary(t.Context(), connect.NewRequest(wrapperspb.String("hello")))
					if err != nil {
						t.Fatal(err)
					}
					pod, rest, _ := strings.Cut(answer.Msg.Value, " ")
					seen[pod] = true
					if rest != "heard hello by "+name {
						t.Errorf("answer %q", rest)
					}
				}
				if len(seen) != 2 {
					t.Errorf("%s: served by %v, want two pods", name, seen)
				}
			}
			talk := connect.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](client, scheme+"://quiz.kiada"+procedure+"All").CallBidiStream(t.Context())
			for i := range 10 {
				if err := talk.Send(wrapperspb.String(fmt.Sprint(i))); err != nil {
					t.Fatal(err)
				}
				if m, err := talk.Receive(); err != nil || m.Value != fmt.Sprint(i) {
					t.Fatalf("%v, %v", m, err)
				}
			}
			if err := talk.CloseRequest(); err != nil {
				t.Error(err)
			}
			if err := talk.CloseResponse(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOtelHTTP(t *testing.T) {
	source := &pods{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("Traceparent"))
	}))
	defer s.Close()
	source.add(s.Listener.Addr().String(), "")
	source.addGone()
	recorder := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(recorder))
	transport := newTransport(t, httpbalancer.Config{Source: source})
	client := &http.Client{Transport: otelhttp.NewTransport(transport, otelhttp.WithTracerProvider(provider))}
	for range 4 {
		resp, err := client.Get("http://quiz.kiada/")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	spans := recorder.Ended()
	if len(spans) != 4 {
		t.Fatalf("%d spans, want 4", len(spans))
	}
	for _, span := range spans {
		found := false
		for _, a := range span.Attributes() {
			if a.Key == "server.address" {
				found = a.Value.AsString() == "quiz.kiada"
			}
		}
		if !found {
			t.Errorf("the server's address is not the Service's name: %v", span.Attributes())
		}
	}
	client.CloseIdleConnections()
}

// retryablehttp sends again what this has not: each in its turn.
func TestRetryableHTTP(t *testing.T) {
	source := &pods{}
	var mu sync.Mutex
	bodies := map[string]int{}
	var fails atomic.Int64
	for range 2 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if fails.Add(-1) >= 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			bodies[string(body)]++
			mu.Unlock()
		}))
		defer s.Close()
		source.add(s.Listener.Addr().String(), "")
	}
	source.addGone()
	client := retryablehttp.NewClient()
	client.Logger, client.RetryWaitMin, client.RetryWaitMax = nil, 1, 1
	client.HTTPClient = &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: source})}
	for i := range 10 {
		fails.Store(2)
		resp, err := client.Post("http://quiz.kiada/", "text/plain", strings.NewReader(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	for id, n := range bodies {
		if n != 1 {
			t.Errorf("request %s was processed %d times", id, n)
		}
	}
	if len(bodies) != 10 {
		t.Errorf("%d requests were processed, want 10", len(bodies))
	}
}
