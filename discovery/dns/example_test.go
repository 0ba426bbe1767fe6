package dns_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

// In a pod, dns.System() takes the place of the Source here, which asks a
// server of the example's own.
func Example() {
	server, err := dnstest.Start()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	server.SetSRV("_grpc._tcp.quiz.kiada.svc.cluster.local", 30*time.Second,
		dnstest.SRV{Target: "quiz-0.quiz.kiada.svc.cluster.local", Port: 9090},
		dnstest.SRV{Target: "quiz-1.quiz.kiada.svc.cluster.local", Port: 9090})
	server.SetA("quiz-0.quiz.kiada.svc.cluster.local", 30*time.Second, netip.MustParseAddr("10.1.0.7"))
	server.SetA("quiz-1.quiz.kiada.svc.cluster.local", 30*time.Second, netip.MustParseAddr("10.1.0.8"))

	target, err := discovery.ParseTarget("headless:///quiz.kiada:grpc")
	if err != nil {
		fmt.Println(err)
		return
	}
	source := dns.New(dns.Config{Servers: []string{server.Addr()}, Domain: "cluster.local"})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	snapshot, err := discovery.Resolve(ctx, source, target)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, endpoint := range snapshot.Endpoints {
		fmt.Println(&endpoint)
	}
	// Output:
	// 10.1.0.7:9090 (quiz-0)
	// 10.1.0.8:9090 (quiz-1)
}
