// Command bench measures sidestep beside its peers, in one run on one machine:
//
//	go run .        # the suites
//	go run . watch  # the tables of one of them
//
// Each row of a table is one figure, each column one client; where a target is
// set for sidestep, the row ends with a verdict, and the exit status is 1 if a
// target is missed. Each client runs in a process of its own, another one in
// each round, and the rounds of all clients take turns, so that whatever else
// the machine does falls on all of them. Cells are the median of the rounds,
// with the range behind it. Take the proportions from them; absolute figures
// are those of the machine.
//
// It is a module of its own because its dependencies are the peers, which
// nobody who uses sidestep should have to download. It runs on Linux, from its
// own directory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

// A suite measures one thing that sidestep does.
type suite struct {
	name, about string
	run         func(ctx context.Context, o options) ([]table, error)
}

var suites = []suite{
	{"watch", "10,000 endpoints, and 1,000 targets, kept up to date from the API server", watchSuite},
	{"topology", "the choice of endpoints beside kube-proxy's own code, on random Services", topologySuite},
	{"pick", "Pick and Done, with requests in flight, beside the policies of gRPC, Kratos and go-zero", pickSuite},
	{"grpc", "requests over loopback, and a channel with 1,000 endpoints, beside gRPC's round_robin", grpcSuite},
	{"http", "requests over http.Transport's own cost, 10,000 backends, a dead one, beside Kratos", httpSuite},
	{"telemetry", "what it costs to have all of it reported to OpenTelemetry", telemetrySuite},
	{"update", "a list of 10,000 backends kept up to date, beside the policies of gRPC", updateSuite},
}

// options are those of all suites.
type options struct {
	rounds  int
	profile string // directory for CPU and heap profiles of the clients; empty for none
}

func main() {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case childFlag:
			exit(child(os.Args[2]))
		case lb.Flag:
			exit(lb.Run(os.Args[2], os.Stdout))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx))
}

var errMissed = errors.New("a target is missed")

func run(ctx context.Context) error {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "how often to measure each client")
	flag.StringVar(&o.profile, "profile", "", "write profiles of the clients to this `directory`, which slows their first round")
	flag.Usage = usageText
	flag.Parse()
	if flag.NArg() == 0 {
		usageText()
		return nil
	}
	for _, s := range suites {
		if s.name == flag.Arg(0) {
			tables, err := s.run(ctx, o)
			return errors.Join(show(os.Stdout, tables), err)
		}
	}
	usageText()
	return fmt.Errorf("there is no suite %q", flag.Arg(0))
}

func usageText() {
	fmt.Println("go run . [-rounds N] [-profile DIRECTORY] SUITE\n\nThe suites:")
	for _, s := range suites {
		fmt.Printf("  %-8s %s\n", s.name, s.about)
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
