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
//
// With -listen there is an HTTP server: /result is the result so far, /metrics
// what OpenTelemetry's exporter makes of sidestep's metrics for Prometheus, and
// /debug/sidestep/ the live page.
package main

import (
	"flag"
	"log"
	"net/http"

	"github.com/sidestep-lb/sidestep/balancer/livepage"
	"github.com/sidestep-lb/sidestep/examples/client/load"
	"github.com/sidestep-lb/sidestep/examples/client/result"
)

func main() {
	var program load.Program
	program.AddFlags(flag.CommandLine)
	var o options
	flag.StringVar(&o.target, "target", "quiz.kiada:grpc", "`name` of the Service: SERVICE.NAMESPACE:PORT for gRPC, a URL for HTTP")
	flag.StringVar(&o.protocol, "protocol", "grpc", "grpc, http, h2c or https")
	flag.StringVar(&o.via, "via", "k8s", "k8s, api (k8s without its fall-back to DNS), headless, static (gRPC only), dns (gRPC only) or clusterip")
	flag.StringVar(&o.policy, "policy", "round_robin", "sidestep's load-balancing policy")
	flag.StringVar(&o.method, "method", "GET", "of HTTP requests: GET, or POST, whose body can be sent only once")
	flag.StringVar(&o.ca, "ca", "", "`file` with the certificates that https trusts; empty: the system's")
	flag.Parse()

	metrics, err := prometheusHandler()
	if err != nil {
		log.Fatal(err)
	}
	program.Also = map[string]http.Handler{"/metrics": metrics, "/debug/sidestep/": livepage.Handler()}
	way, err := o.way()
	if err != nil {
		log.Fatal(err)
	}
	err = program.Run(way, result.Result{Target: o.target, Protocol: o.protocol, Via: o.via, Policy: o.policy})
	way.Close()
	if err != nil {
		log.Fatal(err)
	}
}
