// Command first makes first requests: it asks nothing before it is told to, so
// that a test can prepare its pod. Then it asks examples/server as a user's
// program does that has just started.
//
//	GET /alive                          204 No Content
//	GET /first?protocol=http&target=http://quiz.kiada:8080/questions
//	GET /first?protocol=grpc&target=quiz.kiada:9090
//	                                    the first request to a Service, as JSON
//
// All HTTP requests go through one Transport, and each gRPC request has a channel
// of its own.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/examples/client/load"
)

// timeout is how long a request may take.
const timeout = 20 * time.Second

// An answer is what became of a request.
type answer struct {
	Pod   string        `json:"pod"`
	Took  time.Duration `json:"took"`
	Error string        `json:"error,omitempty"`
}

func main() {
	listen := flag.String("listen", ":8081", "`address` of the HTTP server")
	flag.Parse()
	transport := httpbalancer.New(httpbalancer.Config{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /alive", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /first", func(w http.ResponseWriter, r *http.Request) {
		way, err := wayTo(transport, r.URL.Query().Get("protocol"), r.URL.Query().Get("target"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(ask(r.Context(), way)) // whoever asked may have gone
	})
	server := http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

// wayTo returns a way that nobody has taken before. It stays open, as that of a
// program does.
func wayTo(transport http.RoundTripper, protocol, target string) (*load.Way, error) {
	switch protocol {
	case "http":
		return load.HTTP(transport, http.MethodGet, target), nil
	case "grpc":
		return load.GRPC("k8s:///"+target, grpcbalancer.Config{}.DialOptions()...)
	}
	return nil, fmt.Errorf("protocol %q: unknown; there are http and grpc", protocol)
}

func ask(ctx context.Context, way *load.Way) answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	pod, err := way.Ask(ctx)
	a := answer{Pod: pod, Took: time.Since(start)}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}
