//go:build linux

package interop

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const procedure = "/quiz.v1.Quiz/Ask"

// newConnect starts connect-go in an http.Server, which speaks HTTP/1 and HTTP/2
// without TLS. To disturb the pod is to Shutdown the server and to start another.
func newConnect(t *testing.T) *pod {
	mux := http.NewServeMux()
	mux.Handle(procedure, connect.NewUnaryHandler(procedure, func(_ context.Context, req *connect.Request[wrapperspb.BytesValue]) (*connect.Response[wrapperspb.BytesValue], error) {
		<-time.After(2 * time.Millisecond)
		return connect.NewResponse(req.Msg), nil
	}))
	mux.HandleFunc("/echo", echo)
	addr := freeAddr(t)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	run := func() *http.Server {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: mux, Protocols: &protocols}
		go s.Serve(l)
		return s
	}
	s := run()
	t.Cleanup(func() { s.Close() })
	return &pod{addr: addr, disturb: func(gone, back func()) {
		gone()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		s = run()
		back()
	}}
}

// Shutdown closes idle connections and answers with "Connection: close" what is
// on its way on others.
func TestConnectShutdownHTTP1(t *testing.T) {
	h := httpTest{pods: []*pod{newConnect(t), newConnect(t)}, postsMayFail: true}
	h.run(t)
}

// Shutdown sends GOAWAY with the last stream that the server has seen.
func TestConnectShutdownHTTP2(t *testing.T) {
	h := httpTest{pods: []*pod{newConnect(t), newConnect(t)}, h2c: true}
	h.run(t)
}

// A connectClient is connect-go's client over one of the http.RoundTrippers.
type connectClient struct {
	name   string
	option connect.ClientOption
}

// The protocols of connect-go's client are unary calls over httpbalancer, too.
func TestConnectClientShutdown(t *testing.T) {
	h := httpTest{h2c: true}
	for _, client := range []connectClient{
		{"connect", connect.WithClientOptions()}, {"grpc", connect.WithGRPC()}, {"grpcweb", connect.WithGRPCWeb()},
	} {
		t.Run(client.name, func(t *testing.T) {
			pods := []*pod{newConnect(t), newConnect(t)}
			call := func(rt http.RoundTripper) *caller {
				ask := connect.NewClient[wrapperspb.BytesValue, wrapperspb.BytesValue](&http.Client{Transport: rt}, "http://quiz.kiada"+procedure, client.option)
				return &caller{call: func(ctx context.Context, question []byte) ([]byte, error) {
					answer, err := ask.CallUnary(ctx, connect.NewRequest(wrapperspb.Bytes(question)))
					if err != nil {
						return nil, err
					}
					return answer.Msg.GetValue(), nil
				}}
			}
			c := callTest{
				pods: pods, adapter: "http",
				ours:   func(w *way) *caller { return call(h.sidestep(t, w).rt) },
				theirs: func(w *way) *caller { return call(h.transport(t, w).rt) },
			}
			c.run(t)
		})
	}
}
