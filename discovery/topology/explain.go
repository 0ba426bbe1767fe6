package topology

import (
	"fmt"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
)

// An Explanation is the decision of [Select] with its reasons. Programs read the
// Mode and the States of the hints; the texts are for people and may change.
type Explanation struct {
	At   Locality
	Mode Mode
	// NodeHints and ZoneHints say what became of the hints of each kind.
	NodeHints, ZoneHints HintStatus
	// Endpoints are those of the Snapshot, in its order, and the cluster IP where
	// that is used in their place.
	Endpoints []Verdict
}

// A HintStatus says whether the hints of one kind decided and, if not, why not.
type HintStatus struct {
	State HintState
	Why   string // "endpoint 10.0.0.3:80 has no zone hint"
}

// A HintState is what became of the hints of one kind.
type HintState string

// The states of hints. They count only in the first.
const (
	// HintsDecide: they chose the endpoints.
	HintsDecide HintState = "decide"
	// HintsNotAsked: another rule decided before it was their turn.
	HintsNotAsked HintState = "not asked"
	// HintsAbsent: no ready endpoint has one. A Service asks for them with its
	// field trafficDistribution.
	HintsAbsent HintState = "absent"
	// HintsIncomplete: some ready endpoints have none, so that none counts.
	HintsIncomplete HintState = "incomplete"
	// HintsUnplaced: the client does not know its own node or zone.
	HintsUnplaced HintState = "own place unknown"
	// HintsElsewhere: all of them name other nodes or zones than the client's.
	HintsElsewhere HintState = "elsewhere"
)

// A Verdict says of one endpoint whether [Select] chose it, and why.
type Verdict struct {
	Endpoint discovery.Endpoint
	Usable   bool
	Why      string // "ready", "hinted for zone-b"
}

// Explain returns what [Select] decides for the same arguments, and why. It
// costs more than Select: it is for a person who asks.
func Explain(s *discovery.Snapshot, at Locality) *Explanation {
	found := inspect(s, at)
	mode := found.mode()
	x := &Explanation{
		At:        at,
		Mode:      mode,
		NodeHints: found.nodeHints(mode),
		ZoneHints: found.zoneHints(mode),
		Endpoints: make([]Verdict, len(s.Endpoints)),
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		x.Endpoints[i] = Verdict{*e, mode.admits(e, at), why(e, at, mode, s.LocalOnly)}
	}
	if NeedsNode(s, at) {
		x.Mode = ClusterIP
		x.Endpoints = append(x.Endpoints, Verdict{proxied(s), true, "the cluster IP: " + ErrNodeUnknown.Error()})
	}
	return x
}

// Usable counts the endpoints that were chosen.
func (x *Explanation) Usable() int {
	n := 0
	for i := range x.Endpoints {
		if x.Endpoints[i].Usable {
			n++
		}
	}
	return n
}

// String says it in one line, without the single endpoints.
func (x *Explanation) String() string {
	return fmt.Sprintf("%s: %d of %d endpoints, for %s; node hints: %s; zone hints: %s",
		x.Mode, x.Usable(), len(x.Endpoints), x.At, x.NodeHints.Why, x.ZoneHints.Why)
}

func (f *findings) nodeHints(mode Mode) HintStatus {
	switch {
	case mode == SameNode:
		return HintStatus{HintsDecide, "they decide"}
	case f.localOnly:
		return HintStatus{HintsNotAsked, "internalTrafficPolicy is Local"}
	case f.ready == 0:
		return HintStatus{HintsNotAsked, "no endpoint is ready"}
	default:
		return f.nodes.inactive("node")
	}
}

func (f *findings) zoneHints(mode Mode) HintStatus {
	switch {
	case mode == SameZone:
		return HintStatus{HintsDecide, "they decide"}
	case mode == SameNode:
		return HintStatus{HintsNotAsked, "the node hints decide"}
	case f.localOnly:
		return HintStatus{HintsNotAsked, "internalTrafficPolicy is Local"}
	case f.ready == 0:
		return HintStatus{HintsNotAsked, "no endpoint is ready"}
	default:
		return f.zones.inactive("zone")
	}
}

// inactive says why the hints of a kind, whose turn it was, did not decide.
func (t *tally) inactive(kind string) HintStatus {
	switch {
	case t.with == 0:
		return HintStatus{HintsAbsent, "no ready endpoint has one"}
	case t.place == "":
		return HintStatus{HintsUnplaced, "own " + kind + " unknown"}
	case t.without > 0:
		return HintStatus{HintsIncomplete, t.incomplete(kind)}
	default:
		return HintStatus{HintsElsewhere, "no endpoint has a hint for " + t.place}
	}
}

func (t *tally) incomplete(kind string) string {
	if more := t.without - 1; more > 0 {
		return fmt.Sprintf("endpoint %s and %d more have no %s hint", t.lacking, more, kind)
	}
	return fmt.Sprintf("endpoint %s has no %s hint", t.lacking, kind)
}

// why says of one endpoint what decided about it.
func why(e *discovery.Endpoint, at Locality, mode Mode, localOnly bool) string {
	switch {
	case localOnly && !onNode(e, at):
		return elsewhere(e, at)
	case servesTerminating(e) && !e.Ready && (mode == Terminating || mode == LocalTerminating):
		return "serves while terminating, and none is ready"
	case servesTerminating(e) && !e.Ready:
		return "terminating, and others are ready"
	case e.Terminating && !e.Ready:
		return "terminating, and serves no more"
	case !e.Ready:
		return "not ready"
	case mode == SameNode:
		return "hinted for " + strings.Join(e.Hints.Nodes, ", ")
	case mode == SameZone:
		return "hinted for " + strings.Join(e.Hints.Zones, ", ")
	default:
		return "ready"
	}
}

func elsewhere(e *discovery.Endpoint, at Locality) string {
	switch {
	case at.Node == "":
		return "internalTrafficPolicy is Local, and own node unknown"
	case e.Node == "":
		return "internalTrafficPolicy is Local, and its node unknown"
	default:
		return "internalTrafficPolicy is Local, and it runs on " + e.Node
	}
}
