// Quickstart shows the SDK at work, with nothing installed but Go: it starts
// pods, an API server, DNS and a ClusterIP on loopback addresses, and sends
// steady traffic to one Service in several ways at once, while pods become
// ready, come, go and die, and the API server fails.
//
//	go run ./examples/quickstart
//
// The exit status is 1 if a request over the SDK failed. Requests that were
// under way on a pod when it died are counted apart: no client can save those
// that may not be sent twice.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	scene := flag.Duration("length", 7*time.Second, "length of each of the 5 scenes")
	rate := flag.Int("rate", 100, "requests per second, for each way")
	flag.Parse()
	if *scene < 2*time.Second || *rate < 1 || *rate > 1000 {
		fmt.Fprintln(os.Stderr, "quickstart: want -length of 2s or more, and -rate from 1 to 1000")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	failed, err := run(ctx, os.Stdout, *scene, *rate)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
	if failed > 0 {
		os.Exit(1)
	}
}
