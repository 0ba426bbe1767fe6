package telemetry

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// The attributes. Where OpenTelemetry's conventions have a name, that is used.
const (
	targetKey    = attribute.Key("sidestep.target")
	adapterKey   = attribute.Key("sidestep.adapter")
	policyKey    = attribute.Key("sidestep.policy")
	stateKey     = attribute.Key("sidestep.state")
	zoneKey      = attribute.Key("sidestep.zone")
	crossZoneKey = attribute.Key("sidestep.cross_zone")
	outcomeKey   = attribute.Key("sidestep.outcome")
	reasonKey    = attribute.Key("sidestep.reason")
	causeKey     = attribute.Key("sidestep.cause")
	verbKey      = attribute.Key("sidestep.verb")
	codeKey      = attribute.Key("sidestep.code")
	errorKey     = attribute.Key("error.type")
	podKey       = attribute.Key("k8s.pod.name")
	addressKey   = attribute.Key("server.address")
)

// stateOf is the state of an endpoint as its slice has it.
func stateOf(e *discovery.Endpoint) string {
	switch {
	case e.Ready:
		return "ready"
	case e.Serving:
		return "serving" // and terminating
	default:
		return "not_ready"
	}
}

func (r *reporter) observeDiscovery(o metric.Observer, s discovery.Status, now time.Time) {
	target := targetKey.String(s.Target.String())
	type group struct{ state, zone string }
	endpoints := map[group]int64{{"ready", ""}: 0} // a target without endpoints shows, too
	if s.Snapshot != nil {
		for i := range s.Snapshot.Endpoints {
			e := &s.Snapshot.Endpoints[i]
			endpoints[group{stateOf(e), e.Zone}]++
		}
	}
	for g, n := range endpoints {
		o.ObserveInt64(r.endpoints, n, metric.WithAttributes(target, stateKey.String(g.state), zoneKey.String(g.zone)))
	}
	stale := int64(0)
	if s.Err != nil {
		stale = 1
	}
	o.ObserveInt64(r.stale, stale, metric.WithAttributes(target))
	o.ObserveInt64(r.updates, int64(s.Updates), metric.WithAttributes(target))
	for kind, n := range s.Errors {
		o.ObserveInt64(r.errors, int64(n), metric.WithAttributes(target, errorKey.String(kind)))
	}
	if !s.Read.IsZero() {
		o.ObserveFloat64(r.age, now.Sub(s.Read).Seconds(), metric.WithAttributes(target))
	}
}

// observeBackends adds up what is the same but for the Balancer: two channels to
// one target have one of their own each.
func (r *reporter) observeBackends(o metric.Observer, statuses []balancer.Status) {
	type group struct{ target, adapter, state, zone, pod, address string }
	backends, inFlight, requests := map[group]int64{}, map[group]int64{}, map[group]balancer.Outcomes{}
	for _, s := range statuses {
		for i := range s.Backends {
			b := &s.Backends[i]
			g := group{target: s.Target, adapter: s.Adapter, zone: b.Zone}
			if r.config.Pods {
				g.pod, g.address = b.Pod, b.Addr.String()
				sum := requests[g]
				for k, n := range b.Requests {
					sum[k] += n
				}
				requests[g] = sum
			}
			inFlight[g] += b.InFlight
			g.state = string(b.State)
			backends[g]++
		}
	}
	attributes := func(g group) []attribute.KeyValue {
		list := []attribute.KeyValue{targetKey.String(g.target), adapterKey.String(g.adapter), zoneKey.String(g.zone)}
		if r.config.Pods {
			list = append(list, podKey.String(g.pod), addressKey.String(g.address))
		}
		return list
	}
	for g, n := range backends {
		o.ObserveInt64(r.backends, n, metric.WithAttributes(append(attributes(g), stateKey.String(g.state))...))
	}
	for g, n := range inFlight {
		o.ObserveInt64(r.inFlight, n, metric.WithAttributes(attributes(g)...))
	}
	for g, outcomes := range requests {
		r.observeRequests(o, outcomes, attributes(g), g.zone)
	}
}

// observeRequests observes requests to backends of a zone.
func (r *reporter) observeRequests(o metric.Observer, outcomes balancer.Outcomes, attributes []attribute.KeyValue, zone string) {
	if r.config.Zone != "" && zone != "" {
		attributes = append(attributes, crossZoneKey.Bool(zone != r.config.Zone))
	}
	for outcome, n := range outcomes {
		if n > 0 {
			o.ObserveInt64(r.requests, int64(n), metric.WithAttributes(attributes...),
				metric.WithAttributes(outcomeKey.String(health.Outcome(outcome).String())))
		}
	}
}

func (r *reporter) observeTotal(o metric.Observer, sum balancer.Total) {
	target, adapter := targetKey.String(sum.Target), adapterKey.String(sum.Adapter)
	both := metric.WithAttributes(target, adapter)
	if !r.config.Pods { // or they are observed by pod
		for zone, outcomes := range sum.Requests {
			r.observeRequests(o, outcomes, []attribute.KeyValue{target, adapter, zoneKey.String(zone)}, zone)
		}
	}
	for reason, n := range sum.Counts.Retries {
		o.ObserveInt64(r.retries, int64(n), metric.WithAttributes(target, adapter, reasonKey.String(string(reason))))
	}
	for cause, n := range sum.Counts.Ejections {
		o.ObserveInt64(r.ejections, int64(n), metric.WithAttributes(target, adapter, causeKey.String(cause.String())))
	}
	o.ObserveInt64(r.readmissions, int64(sum.Counts.Readmissions), both)
	o.ObserveInt64(r.failOpens, int64(sum.Counts.FailOpens), both)
	o.ObserveInt64(r.repicks, int64(sum.Counts.Repicks), both)
	o.ObserveInt64(r.failedPicks, int64(sum.Counts.NoBackend), both)
	o.ObserveInt64(r.newcomers, int64(sum.Counts.Newcomers), both)
}
