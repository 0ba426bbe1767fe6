// Command goredis is examples/client for Redis: the same load, measured by the same
// means, by go-redis over a dialbalancer or over the Service's cluster IP. It is built
// for the end-to-end tests, which run it in a pod.
//
//	goredis -via dial -target k8s:///redis.dial:redis
//	goredis -via clusterip
package main

import (
	"context"
	"flag"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
	"github.com/sidestep-lb/sidestep/examples/client/load"
	"github.com/sidestep-lb/sidestep/examples/client/result"
)

func main() {
	var program load.Program
	program.AddFlags(flag.CommandLine)
	via := flag.String("via", "dial", "dial or clusterip")
	target := flag.String("target", "k8s:///redis.dial:redis", "of the dialbalancer")
	address := flag.String("address", "redis.dial:6379", "of the Service")
	conns := flag.Int("conns", 12, "how many connections to keep")
	flag.Parse()

	options := &redis.Options{Addr: *address, PoolSize: *conns, MinIdleConns: *conns, PoolFIFO: true}
	if *via == "dial" {
		dialer, err := dialbalancer.New(*target, dialbalancer.Config{})
		if err != nil {
			log.Fatal(err)
		}
		options.Dialer = dialer.DialContext
	}
	rdb := redis.NewClient(options)
	way := &load.Way{
		Ask:   func(ctx context.Context) (string, error) { return rdb.Get(ctx, "pod").Result() },
		Close: func() { rdb.Close() },
	}
	err := program.Run(way, result.Result{Target: *target, Protocol: "redis", Via: *via})
	way.Close()
	if err != nil {
		log.Fatal(err)
	}
}
