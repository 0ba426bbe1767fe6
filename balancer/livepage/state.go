package livepage

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
	"github.com/sidestep-lb/sidestep/health"
	"github.com/sidestep-lb/sidestep/internal/telemetry"
)

// A state is what the page shows. Times are in RFC 3339, durations in seconds.
type state struct {
	Time      time.Time         `json:"time"`
	Node      string            `json:"node,omitempty"` // where the process runs
	Zone      string            `json:"zone,omitempty"`
	Targets   []target          `json:"targets"`
	Balancers []balanced        `json:"balancers"`
	Asked     map[string]uint64 `json:"asked"` // of servers, by what and label
}

// A target is one that is watched.
type target struct {
	Target    string            `json:"target"`
	Users     int               `json:"users"`
	Age       float64           `json:"age"`       // since the last successful read; negative if there was none
	Unchanged float64           `json:"unchanged"` // since the last that brought something new
	Stale     bool              `json:"stale"`
	Error     string            `json:"error,omitempty"`
	Degraded  string            `json:"degraded,omitempty"`
	Reason    string            `json:"reason,omitempty"` // why there are no endpoints
	Rule      string            `json:"rule,omitempty"`   // how the used ones were chosen
	Updates   uint64            `json:"updates"`
	Errors    map[string]uint64 `json:"errors,omitempty"`
	Used      int               `json:"used"`
	Endpoints []endpoint        `json:"endpoints"`
	Omitted   int               `json:"omitted,omitempty"` // endpoints that are not listed
}

type endpoint struct {
	Address    string `json:"address"`
	Other      string `json:"other,omitempty"` // the address in the other family
	Pod        string `json:"pod,omitempty"`
	Node       string `json:"node,omitempty"`
	Zone       string `json:"zone,omitempty"`
	Conditions string `json:"conditions"`
	Used       bool   `json:"used"`
	Why        string `json:"why"`
}

// A balanced is the Balancer of a channel, or of a Service in a transport.
type balanced struct {
	Target   string            `json:"target"`
	Adapter  string            `json:"adapter"`
	Client   string            `json:"client,omitempty"` // its name
	Policy   string            `json:"policy"`
	FailOpen bool              `json:"failOpen"`
	Counts   map[string]uint64 `json:"counts"`
	Backends []backend         `json:"backends"`
	Omitted  int               `json:"omitted,omitempty"`
	Events   []event           `json:"events"` // the latest first
}

type backend struct {
	Address  string            `json:"address"`
	Pod      string            `json:"pod,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	State    string            `json:"state"`
	For      float64           `json:"for,omitempty"` // which it stays in
	Level    uint8             `json:"level,omitempty"`
	Weight   uint32            `json:"weight,omitempty"`
	InFlight int64             `json:"inFlight"`
	Answered int64             `json:"answered,omitempty"` // of those in flight
	Latency  float64           `json:"latency,omitempty"`  // a moving average; 0 if the policy keeps none
	Requests map[string]uint64 `json:"requests"`           // that have ended, by outcome
}

type event struct {
	Ago     float64 `json:"ago"`
	Kind    string  `json:"kind"`
	Backend string  `json:"backend,omitempty"`
	Detail  string  `json:"detail,omitempty"`
}

// maxListed is how many endpoints and backends are listed of one target, unless
// all are asked for: a browser that draws thousands each second does nothing else.
const maxListed = 200

// read returns the present state.
func read(listed int) *state {
	here := topology.Here()
	now := time.Now()
	s := &state{Time: now, Node: here.Node, Zone: here.Zone, Targets: []target{}, Balancers: []balanced{}, Asked: map[string]uint64{}}
	for _, status := range discovery.Statuses() {
		s.Targets = append(s.Targets, readTarget(status, here, now, listed))
	}
	for _, status := range balancer.Statuses() {
		s.Balancers = append(s.Balancers, readBalancer(status, now, listed))
	}
	for key, n := range telemetry.Counts() {
		s.Asked[key.What+" "+key.Label] = n
	}
	return s
}

func readTarget(status discovery.Status, here topology.Locality, now time.Time, listed int) target {
	t := target{
		Target: status.Target.String(), Users: status.Users, Age: -1, Unchanged: -1, Stale: status.Stale(),
		Error: text(status.Err), Updates: status.Updates, Errors: status.Errors, Endpoints: []endpoint{},
	}
	if !status.Read.IsZero() {
		t.Age, t.Unchanged = now.Sub(status.Read).Seconds(), now.Sub(status.Changed).Seconds()
	}
	if status.Snapshot == nil {
		return t
	}
	t.Degraded, t.Reason = text(status.Snapshot.Degraded), text(status.Snapshot.Reason)
	why := topology.Explain(status.Snapshot, here.Infer(status.Snapshot))
	t.Rule, t.Used = why.String(), why.Usable()
	for _, v := range why.Endpoints {
		e := endpoint{
			Address: v.Endpoint.Addr.String(), Pod: v.Endpoint.Pod, Node: v.Endpoint.Node, Zone: v.Endpoint.Zone,
			Conditions: conditions(&v.Endpoint), Used: v.Usable, Why: v.Why,
		}
		if v.Endpoint.AltAddr.IsValid() {
			e.Other = v.Endpoint.AltAddr.String()
		}
		t.Endpoints = append(t.Endpoints, e)
	}
	t.Endpoints, t.Omitted = cut(t.Endpoints, listed)
	return t
}

func conditions(e *discovery.Endpoint) string {
	var all []string
	switch {
	case e.Ready:
		all = append(all, "ready")
	case e.Serving:
		all = append(all, "serving")
	default:
		all = append(all, "not ready")
	}
	if e.Terminating {
		all = append(all, "terminating")
	}
	return strings.Join(all, ", ")
}

func readBalancer(status balancer.Status, now time.Time, listed int) balanced {
	b := balanced{
		Target: status.Target, Adapter: status.Adapter, Client: status.Client, Policy: status.Policy, FailOpen: status.FailOpen,
		Counts: countsOf(status.Counts), Backends: []backend{}, Events: []event{},
	}
	slices.SortStableFunc(status.Backends, func(x, y balancer.BackendStatus) int { // what is out of order comes first
		return cmp.Compare(rank(x.State), rank(y.State))
	})
	for i := range status.Backends {
		b.Backends = append(b.Backends, readBackend(&status.Backends[i], now))
	}
	b.Backends, b.Omitted = cut(b.Backends, listed)
	for _, e := range slices.Backward(status.Events) {
		b.Events = append(b.Events, event{Ago: now.Sub(e.At).Seconds(), Kind: string(e.Kind), Backend: e.Backend, Detail: e.Detail})
	}
	return b
}

func rank(s balancer.State) int {
	if s == balancer.StateFit || s == balancer.StateJoining {
		return 1
	}
	return 0
}

func readBackend(status *balancer.BackendStatus, now time.Time) backend {
	b := backend{
		Address: status.Addr.String(), Pod: status.Pod, Zone: status.Zone, State: string(status.State), Level: status.Priority,
		Weight: status.Weight, InFlight: status.InFlight, Answered: status.Answered, Latency: status.Latency.Seconds(),
		Requests: make(map[string]uint64),
	}
	if !status.Until.IsZero() {
		b.For = max(status.Until.Sub(now).Seconds(), 0)
	}
	for outcome, n := range status.Requests {
		b.Requests[health.Outcome(outcome).String()] = n
	}
	return b
}

// countsOf returns what is not 0, under the names of the metrics.
func countsOf(c balancer.Counts) map[string]uint64 {
	all := map[string]uint64{
		"readmissions": c.Readmissions, "fail opens": c.FailOpens, "repicks": c.Repicks, "failed picks": c.NoBackend, "newcomers": c.Newcomers,
	}
	for cause, n := range c.Ejections {
		all["ejections: "+cause.String()] = n
	}
	for reason, n := range c.Retries {
		all["retries: "+string(reason)] = n
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

// cut returns so many of the list, and how many it left out.
func cut[T any](list []T, listed int) ([]T, int) {
	if len(list) <= listed {
		return list, 0
	}
	return list[:listed], len(list) - listed
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
