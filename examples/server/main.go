// Command server is the backend of the examples: the service quiz over gRPC
// and over HTTP, with what a good Kubernetes citizen has, namely a readiness
// endpoint and a graceful stop on SIGTERM, and with knobs that make it a bad
// one on demand.
//
//	GET  /questions    a question, and the pod that asks it, as JSON
//	GET  /readyz       200 when ready, else 503
//	GET  /knobs        the knobs as they are, as JSON
//	POST /knobs?ready=false&delay=50ms&fail=0.1&die=5s
//	                   sets those that are given
//
// A pod with a preStop hook or one that goes on serving for a while after
// SIGTERM would be easier on its clients. This one stops accepting at once, as
// most servers do.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var knobs knobs
	httpAddr := flag.String("http", ":8080", "`address` of HTTP")
	grpcAddr := flag.String("grpc", ":9090", "`address` of gRPC")
	drain := flag.Duration("drain", 10*time.Second, "how long a stop waits for requests in flight")
	flag.BoolVar(&knobs.Ready, "ready", true, "whether the server is ready")
	flag.DurationVar(&knobs.Delay, "delay", 0, "how long each request takes")
	flag.Float64Var(&knobs.Fail, "fail", 0, "the share of requests that fail, 0 to 1")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, *httpAddr, *grpcAddr, knobs, *drain)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends, then stops gracefully.
func run(ctx context.Context, httpAddr, grpcAddr string, knobs knobs, drain time.Duration) error {
	if err := knobs.validate(); err != nil {
		return err
	}
	httpListener, err := net.Listen("tcp", httpAddr)
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	grpcListener, err := net.Listen("tcp", grpcAddr)
	if err != nil {
		httpListener.Close()
		return fmt.Errorf("listen for gRPC: %w", err)
	}
	s := newServer(podName(), knobs)
	served := s.serve(httpListener, grpcListener)
	log.Printf("pod %s serves HTTP on %s and gRPC on %s", s.pod, httpListener.Addr(), grpcListener.Addr())
	select {
	case err := <-served:
		s.kill()
		return err
	case <-ctx.Done():
		log.Printf("pod %s stops", s.pod)
		s.stop(drain)
		return nil
	}
}

// podName returns POD_NAME, which a manifest sets from the downward API, or
// else the host name, which in a pod is the same by default.
func podName() string {
	if name := os.Getenv("POD_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
