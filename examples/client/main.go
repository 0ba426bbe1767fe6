// Command client puts a steady load on examples/server and prints what became
// of it as one JSON document, which package result describes. Requests are
// sent when they are due, however slow the answers are.
//
//	client -target quiz.kiada:grpc -protocol grpc -via k8s
//	client -target quiz-pods.kiada:grpc -protocol grpc -via headless
//	client -target http://quiz.kiada/questions -protocol http -via k8s
//
// The ways k8s and headless are sidestep's own. For comparison, dns is gRPC's
// resolver of that name with its round_robin, and clusterip leaves it to
// kube-proxy. SIGTERM ends the run early.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	target := flag.String("target", "quiz.kiada:grpc", "`name` of the Service: SERVICE.NAMESPACE:PORT for gRPC, a URL for HTTP")
	protocol := flag.String("protocol", "grpc", "grpc or http")
	via := flag.String("via", "k8s", "k8s, api (k8s without its fall-back to DNS), headless, dns (gRPC only) or clusterip")
	policy := flag.String("policy", "round_robin", "sidestep's load-balancing policy")
	rate := flag.Float64("rate", 200, "requests per second")
	length := flag.Duration("length", 20*time.Second, "how long to send requests")
	listen := flag.String("listen", "", "`address` of an HTTP server that gives the result so far at /result; empty: none")
	timeout := flag.Duration("timeout", 2*time.Second, "how long a request may take")
	flag.Parse()
	if !(*rate > 0 && *rate <= 1e6) {
		log.Fatalf("-rate %v: not between 0 and a million", *rate)
	}

	ask, stop, err := dial(*protocol, *via, *target, *policy)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	load := newLoad(ask, *rate, *timeout)
	report := func(out io.Writer, ended time.Time) error {
		r := load.result(ended)
		r.Target, r.Protocol, r.Via, r.Policy, r.Wanted = *target, *protocol, *via, *policy, *rate
		return json.NewEncoder(out).Encode(r)
	}
	if *listen != "" {
		go serve(*listen, report)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	fmt.Fprintln(os.Stderr, "ready")
	ended := load.run(ctx, *length)
	if err := report(os.Stdout, ended); err != nil {
		log.Print(err)
	}
}

// serve answers GET /result with the result so far, for as long as the program
// runs.
func serve(addr string, report func(io.Writer, time.Time) error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /result", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = report(w, time.Now()) // whoever asked may have gone
	})
	server := http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
