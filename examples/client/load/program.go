package load

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
	"sync"
	"syscall"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// A Program is what a client does besides asking: it reads these options, puts
// the load on, and tells what became of it.
type Program struct {
	Rate      float64
	Length    time.Duration
	Timeout   time.Duration
	Listen    string
	Latencies bool
	Subscribe bool
	// Also is what the server shows besides the result, by pattern.
	Also map[string]http.Handler
}

// AddFlags adds the options to those of the command line.
func (p *Program) AddFlags(flags *flag.FlagSet) {
	flags.Float64Var(&p.Rate, "rate", 200, "requests per second")
	flags.DurationVar(&p.Length, "length", 20*time.Second, "how long to send requests")
	flags.DurationVar(&p.Timeout, "timeout", 2*time.Second, "how long a request may take")
	flags.StringVar(&p.Listen, "listen", "", "`address` of an HTTP server that gives the result so far at /result; empty: none")
	flags.BoolVar(&p.Latencies, "latencies", false, "put the latency of every request into the result")
	flags.BoolVar(&p.Subscribe, "subscribe", false, "hold a stream open beside the requests, on which the pod is silent")
}

// Run sends requests until the time is up, or until SIGTERM, and writes the
// result to standard output. It says on standard error when it begins. The
// labels are what the result says of the way.
func (p *Program) Run(way *Way, labels result.Result) error {
	if !(p.Rate > 0 && p.Rate <= 1e6) {
		return fmt.Errorf("-rate %v: not between 0 and a million", p.Rate)
	}
	l := newLoad(way, p.Rate, p.Timeout)
	l.keepLatencies = p.Latencies
	report := func(out io.Writer, ended time.Time) error {
		r := l.result(ended)
		r.Target, r.Protocol, r.Via, r.Policy, r.Wanted = labels.Target, labels.Protocol, labels.Via, labels.Policy, p.Rate
		return json.NewEncoder(out).Encode(r)
	}
	if p.Listen != "" {
		go p.serve(report)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	if p.Subscribe {
		streaming, end := context.WithCancel(ctx)
		var subscription sync.WaitGroup
		subscription.Go(func() { l.keepSubscribed(streaming) })
		defer subscription.Wait()
		defer end()
	}
	fmt.Fprintln(os.Stderr, "ready")
	return report(os.Stdout, l.run(ctx, p.Length))
}

// serve answers GET /result with the result so far, for as long as the program
// runs.
func (p *Program) serve(report func(io.Writer, time.Time) error) {
	mux := http.NewServeMux()
	for pattern, handler := range p.Also {
		mux.Handle(pattern, handler)
	}
	mux.HandleFunc("GET /result", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = report(w, time.Now()) // whoever asked may have gone
	})
	server := http.Server{Addr: p.Listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
