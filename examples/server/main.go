// Command server is the backend of the examples: the service quiz over gRPC
// and over HTTP, with what a good Kubernetes citizen has, namely a readiness
// endpoint and a graceful stop on SIGTERM, and with knobs that make it a bad
// one on demand.
//
//	GET  /questions    a question, and the pod that asks it, as JSON; POST does the same
//	GET  /readyz       200 when ready, else 503
//	GET  /knobs        the knobs as they are, as JSON
//	POST /knobs?ready=false&delay=50ms&fail=0.1&die=5s
//	                   sets those that are given
//	GET  /subscription a response that goes on, silent after its first line, until
//	                   the client leaves or the server stops; gRPC clients have the
//	                   method Watch of gRPC's health service for the same
//
// With -workers the pod has a known capacity: it works on so many requests at a
// time, each for as long as the knob delay says, and the others wait.
//
// HTTP is HTTP/1.1 and, for clients that begin with it, HTTP/2 without TLS; with
// -https it is served with TLS, too. With -grpc-aged there is a second port of
// gRPC, which differs in that its connections end when they have some age.
//
// A pod with a preStop hook or one that goes on serving for a while after
// SIGTERM would be easier on its clients. This one stops accepting at once, as
// most servers do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.http, "http", ":8080", "`address` of HTTP")
	flag.StringVar(&o.https, "https", "", "`address` of HTTP with TLS; empty: none")
	flag.StringVar(&o.tls, "tls", "", "`directory` with tls.crt and tls.key, for -https")
	flag.StringVar(&o.grpc, "grpc", ":9090", "`address` of gRPC")
	flag.StringVar(&o.aged, "grpc-aged", "", "`address` of gRPC whose connections end at -max-connection-age; empty: none")
	flag.DurationVar(&o.maxAge, "max-connection-age", 10*time.Second, "age at which a connection to -grpc-aged is to end")
	flag.DurationVar(&o.drain, "drain", 10*time.Second, "how long a stop waits for requests in flight")
	flag.BoolVar(&o.knobs.Ready, "ready", true, "whether the server is ready")
	flag.DurationVar(&o.knobs.Delay, "delay", 0, "how long each request takes")
	flag.Float64Var(&o.knobs.Fail, "fail", 0, "the share of requests that fail, 0 to 1")
	flag.IntVar(&o.capacity.workers, "workers", 0, "how many requests are worked on at a time; 0: all")
	flag.BoolVar(&o.capacity.exponential, "exponential", false, "vary the time of each request: exponentially distributed, with -delay as the mean")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

type options struct {
	http, https, grpc, aged string
	tls                     string
	maxAge, drain           time.Duration
	knobs                   knobs
	capacity                capacity
}

// run serves until ctx ends, then stops gracefully.
func run(ctx context.Context, o options) error {
	if err := o.knobs.validate(); err != nil {
		return err
	}
	if err := o.capacity.validate(); err != nil {
		return err
	}
	listeners, err := o.listen()
	if err != nil {
		return err
	}
	s := newServer(podName(), o.knobs, o.maxAge)
	s.work = o.capacity.work()
	served := s.serve(listeners)
	log.Printf("pod %s serves HTTP on %s and gRPC on %s", s.pod, listeners.http.Addr(), listeners.grpc.Addr())
	select {
	case err := <-served:
		s.kill()
		return err
	case <-ctx.Done():
		log.Printf("pod %s stops", s.pod)
		s.stop(o.drain)
		return nil
	}
}

// listen opens the ports that are wanted. If one cannot be had the process
// ends, and the others with it.
func (o options) listen() (listeners, error) {
	var l listeners
	for _, port := range []struct {
		name, addr string
		listener   *net.Listener
	}{
		{"HTTP", o.http, &l.http}, {"HTTPS", o.https, &l.https}, {"gRPC", o.grpc, &l.grpc}, {"aged gRPC", o.aged, &l.aged},
	} {
		if port.addr == "" {
			continue
		}
		var err error
		if *port.listener, err = net.Listen("tcp", port.addr); err != nil {
			return l, fmt.Errorf("listen for %s: %w", port.name, err)
		}
	}
	if l.http == nil || l.grpc == nil {
		return l, errors.New("-http and -grpc are needed")
	}
	if l.https != nil {
		l.certificate, l.key = filepath.Join(o.tls, "tls.crt"), filepath.Join(o.tls, "tls.key")
	}
	return l, nil
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
