package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// All scenarios, with a hundredth of the requests: too few for the figures to
// mean much, enough to see that each is measured and each target judged.
func TestEachScenarioMeasuresAllItsFigures(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.id, func(t *testing.T) {
			t.Parallel()
			for i := range s.studies {
				if study := &s.studies[i]; study.direct == nil {
					study.setup = thin(study.setup, 0.01)
				} else if s.id == "B14" && i > 0 {
					study.direct = s.studies[0].direct // the large ones take seconds
				}
			}
			table := play(s, 1, 1)
			for _, r := range table.rows {
				for i, c := range table.columns {
					if v := r.cells[i][0]; math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
						t.Errorf("%s: %s: %v", r.contestant.name, c.title, v)
					}
				}
			}
			for _, g := range s.targets {
				if _, judged := g.met(table); !judged {
					t.Errorf("the target for %s is for nobody, or refers to nobody: %s", g.column, g.bound)
				}
			}
		})
	}
}

// The published figures of Linkerd's experiment: about 95 % within a second by
// round robin, 99 % by least loaded, 99.9 % by peak EWMA.
func TestTheSlowReplicaGivesTheFiguresThatLinkerdPublished(t *testing.T) {
	s := slowReplica()
	s.studies = s.studies[:1]
	s.keep([]string{roundRobinPeer.name, p2cPeer.name, peakEWMAPeer.name})
	table := play(s, 1, 2)
	for _, c := range []struct {
		peer      contestant
		low, high float64
	}{{roundRobinPeer, 94.5, 96}, {p2cPeer, 99, 99.7}, {peakEWMAPeer, 99.85, 99.99}} {
		if got := table.median(c.peer.name, "in 1 s %"); got < c.low || got > c.high {
			t.Errorf("%s: %v %%, want %v to %v", c.peer.name, got, c.low, c.high)
		}
	}
}

func TestATargetThatIsMissedIsShown(t *testing.T) {
	s := &scenario{
		id: "B0", title: "nothing",
		contestants: []contestant{{name: "peer"}, {name: adaptive, ours: true}},
		studies: []study{{
			columns: []column{{title: "ms"}},
			direct: func(k contestant, seed uint64) []float64 {
				if k.ours {
					return []float64{float64(seed) + 1}
				}
				return []float64{float64(seed)}
			},
		}},
		targets: []target{{column: "ms", bound: "2 × peer", limit: times(2, "peer", "ms")}},
	}
	var out bytes.Buffer
	if !play(s, 3, 1).show(&out) {
		t.Errorf("3 is not 2 × 2 at most:\n%s", out.String())
	}
	s.targets[0] = target{column: "ms", bound: "peer", limit: times(1, "peer", "ms")}
	out.Reset()
	if play(s, 3, 1).show(&out) {
		t.Errorf("3 is 2 at most:\n%s", out.String())
	}
	for _, want := range []string{"2 (1–3)", "3 (2–4)", "≤ 2 (peer)", "MISSED", "behind peer: ms 3, 2"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestScenariosAndPoliciesAreChosenByName(t *testing.T) {
	chosen, err := choose(scenarios(), "b3", adaptive+","+p2cPeer.name)
	if err != nil || len(chosen) != 1 || chosen[0].id != "B3" {
		t.Fatalf("%v, %v", chosen, err)
	}
	if n := len(chosen[0].contestants); n != 2 {
		t.Errorf("%d take part, want 2", n)
	}
	if _, err := choose(scenarios(), "B99", ""); err == nil {
		t.Error("there is a B99")
	}
}

func TestThePlotIsAPicture(t *testing.T) {
	s := recovery()
	s.studies[0].setup = thin(s.studies[0].setup, 0.05)
	path := filepath.Join(t.TempDir(), "b16.svg")
	if err := plot(path, s); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range s.contestants {
		if !strings.Contains(string(svg), ">"+k.name+"<") {
			t.Errorf("%s is not in the picture", k.name)
		}
	}
	if err := plot(path, subsets()); err == nil {
		t.Error("subsets have a course over time")
	}
}

func TestZipfsLawIsKept(t *testing.T) {
	z := newZipf(1000, 1.1)
	w := idle(1, roundRobinPeer)
	counts := make([]int, 1000)
	for range 100_000 {
		counts[z.draw(w.demands)]++
	}
	if got := float64(counts[0]) / float64(counts[9]); got < 11.4 || got > 13.8 { // 10^1.1 is 12.6
		t.Errorf("the first is drawn %.1f times as often as the tenth", got)
	}
	if slices.Max(counts) != counts[0] {
		t.Error("the first is not drawn most often")
	}
}
