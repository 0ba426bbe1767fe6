// Command sim plays scenarios to load-balancing policies, in virtual time:
// sidestep's own, which is the product's code, and those of gRPC and Finagle,
// which Linkerd has taken over, from their formulas. Scenarios whose names are B
// and a number are of pods that are sick. The others are of ordinary life, in
// which what protects from sick pods must do no harm: rollouts (R1 to R5, half60,
// half70, C1 with cold pods), scaling (X7, U, D), a crash loop (L), requests that
// differ (mixed, impatient), errors that all pods share (noise), Retry-After (RA,
// RA429), and zones.
//
//	go run ./internal/sim                              # all scenarios, one table each
//	go run ./internal/sim -scenario R1,R2,X7           # some of them
//	go run ./internal/sim -scenario B3 -plot b3.svg    # one of them, with shares and latency over time
//
// A row is a contestant, a cell the median over the seeds with the range behind
// it. Below stand the targets and whether they are met; the exit status is 1 if
// one is missed. Scenarios of ordinary life are played with three seeds at most.
//
// What is simulated: servers with workers and a queue, that are slow, pause,
// fail, hang, warm up, crash, come and go; and clients, each with a policy of its own, that
// between them send requests at random moments and never wait for an answer
// before they send the next one. Latency counts from the moment at which a
// request was due. A request that fails counts twice: as a failure, and as one
// that took until its deadline. All contestants meet the same requests.
//
// What is not: the network, which takes no time; connections; and whatever a
// slow processor does to the client itself. Figures of policies that overload a
// server are those of a queue that grows for as long as the run lasts.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

var errMissed = errors.New("a target is missed")

func run() error {
	var (
		only   = flag.String("scenario", "", "play only these, a `list` with commas")
		among  = flag.String("policies", "", "let only these take part, a `list` with commas; targets that refer to others are not judged")
		seeds  = flag.Int("seeds", 5, "play each scenario so many times")
		plotTo = flag.String("plot", "", "write shares and latency over time to this SVG `file`; takes -scenario")
	)
	flag.Parse()
	chosen, err := choose(scenarios(), *only, *among)
	switch {
	case err != nil:
		return err
	case *seeds < 1:
		return errors.New("-seeds: want one at least")
	case *plotTo != "" && len(chosen) != 1:
		return errors.New("-plot: takes -scenario")
	}
	began := time.Now()
	met := true
	for _, s := range chosen {
		started := time.Now()
		met = play(s, *seeds, runtime.GOMAXPROCS(0)).show(os.Stdout) && met
		fmt.Fprintf(os.Stdout, "(%.0f s)\n", time.Since(started).Seconds())
	}
	fmt.Fprintf(os.Stdout, "\n%d scenarios, %d seeds, %.0f s\n", len(chosen), *seeds, time.Since(began).Seconds())
	if *plotTo != "" {
		if err := plot(*plotTo, chosen[0]); err != nil {
			return fmt.Errorf("plotting: %w", err)
		}
	}
	if !met {
		return errMissed
	}
	return nil
}

// choose returns the scenarios and the contestants that are asked for.
func choose(all []*scenario, ids, names string) ([]*scenario, error) {
	var chosen []*scenario
	for _, s := range all {
		if ids == "" || slices.ContainsFunc(strings.Split(ids, ","), func(id string) bool { return strings.EqualFold(id, s.id) }) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("there is no scenario %q", ids)
	}
	if names != "" {
		for _, s := range chosen {
			s.keep(strings.Split(names, ","))
		}
	}
	return chosen, nil
}
