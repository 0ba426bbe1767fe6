package telemetry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
	"github.com/sidestep-lb/sidestep/internal/telemetry"
)

const scope = "github.com/sidestep-lb/sidestep"

// Config says what is reported. The zero value is all but pods.
type Config struct {
	// Pods adds the attributes k8s.pod.name and server.address to backends,
	// in_flight and requests: a series for each pod that there ever was, which a
	// metrics store may not thank you for.
	Pods bool
	// Zone is where the process runs, to tell requests to other zones. The default
	// is what [topology.Here] finds. Where it is unknown, nothing is told of that.
	Zone string
}

// Report reports to provider until stop is called.
func Report(provider metric.MeterProvider, config Config) (stop func() error, err error) {
	if config.Zone == "" {
		config.Zone = topology.Here().Zone
	}
	r := &reporter{config: config, meter: provider.Meter(scope)}
	if err := r.makeAll(); err != nil {
		return nil, fmt.Errorf("make an instrument: %w", err)
	}
	registration, err := r.meter.RegisterCallback(r.collect, r.all...)
	if err != nil {
		return nil, fmt.Errorf("register the instruments: %w", err)
	}
	stopSamples := balancer.SampleLatencies(r.sample)
	return sync.OnceValue(func() error {
		stopSamples()
		return registration.Unregister()
	}), nil
}

// A reporter reports to one provider.
type reporter struct {
	// Set at the start and read-only.
	config Config
	meter  metric.Meter
	all    []metric.Observable

	endpoints, stale, updates, errors                                            metric.Int64Observable
	age                                                                          metric.Float64Observable
	backends, inFlight, requests                                                 metric.Int64Observable
	retries, ejections, readmissions, failOpens, repicks, failedPicks, newcomers metric.Int64Observable
	kubeRequests, kubeFailures, dnsAnswers                                       metric.Int64Observable
	duration                                                                     metric.Float64Histogram

	series sync.Map // metric.MeasurementOption by seriesKey, for duration
}

// makeAll makes the instruments.
func (r *reporter) makeAll() error {
	var errs []error
	gauge := func(name, unit, about string) metric.Int64Observable {
		made, err := r.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(about))
		errs, r.all = append(errs, err), append(r.all, made)
		return made
	}
	counter := func(name, unit, about string) metric.Int64Observable {
		made, err := r.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(about))
		errs, r.all = append(errs, err), append(r.all, made)
		return made
	}
	r.endpoints = gauge("sidestep.discovery.endpoints", "{endpoint}", "Endpoints of a target, by state and zone.")
	r.stale = gauge("sidestep.discovery.stale", "{target}", "1 while the endpoints of a target are kept through a failure of discovery, else 0.")
	r.updates = counter("sidestep.discovery.updates", "{update}", "Successful reads of the endpoints of a target.")
	r.errors = counter("sidestep.discovery.errors", "{error}", "Reads of the endpoints of a target that failed.")
	r.backends = gauge("sidestep.balancer.backends", "{backend}", "Backends of a target, by state and zone.")
	r.inFlight = gauge("sidestep.balancer.in_flight", "{request}", "Requests in flight.")
	r.requests = counter("sidestep.balancer.requests", "{request}", "Requests that have ended, by zone of the backend and outcome.")
	r.retries = counter("sidestep.balancer.retries", "{retry}", "Requests that were sent once more, by reason.")
	r.ejections = counter("sidestep.balancer.ejections", "{ejection}", "Backends that were ejected because they failed too often.")
	r.readmissions = counter("sidestep.balancer.readmissions", "{readmission}", "Ejected backends whose probe succeeded.")
	r.failOpens = counter("sidestep.balancer.fail_opens", "{request}", "Requests to a backend that was not fit, because none was.")
	r.repicks = counter("sidestep.balancer.repicks", "{pick}", "Times that the policy was asked again.")
	r.failedPicks = counter("sidestep.balancer.failed_picks", "{pick}", "Picks that found no backend.")
	r.newcomers = counter("sidestep.balancer.newcomers", "{backend}", "Backends that joined others.")
	r.kubeRequests = counter("sidestep.discovery.kube.requests", "{request}", "Requests to the API server, by verb.")
	r.kubeFailures = counter("sidestep.discovery.kube.failures", "{request}", "Requests to the API server that failed, by verb.")
	r.dnsAnswers = counter("sidestep.discovery.dns.answers", "{answer}", "Answers of DNS servers, by code.")

	age, err := r.meter.Float64ObservableGauge("sidestep.discovery.age", metric.WithUnit("s"),
		metric.WithDescription("Time since the last successful read of the endpoints of a target."))
	errs, r.all, r.age = append(errs, err), append(r.all, age), age
	r.duration, err = r.meter.Float64Histogram("sidestep.balancer.request.duration", metric.WithUnit("s"),
		metric.WithDescription("Time until a request was answered or had failed, of a sample of the requests."),
		metric.WithExplicitBucketBoundaries(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	return errors.Join(append(errs, err)...)
}

// A seriesKey is one of the series of durations.
type seriesKey struct {
	target, adapter, outcome string
}

// sample records a duration.
func (r *reporter) sample(s balancer.Sample) {
	key := seriesKey{s.Target, s.Adapter, s.Outcome.String()}
	option, ok := r.series.Load(key)
	if !ok {
		option, _ = r.series.LoadOrStore(key, metric.WithAttributeSet(attribute.NewSet(
			targetKey.String(key.target), adapterKey.String(key.adapter), outcomeKey.String(key.outcome))))
	}
	r.duration.Record(context.Background(), s.Latency.Seconds(), option.(metric.MeasurementOption))
}

// collect is called when a reader collects.
func (r *reporter) collect(_ context.Context, o metric.Observer) error {
	now := time.Now()
	for _, s := range discovery.Statuses() {
		r.observeDiscovery(o, s, now)
	}
	r.observeBackends(o, balancer.Statuses())
	for _, sum := range balancer.Totals() {
		r.observeTotal(o, sum)
	}
	for key, n := range telemetry.Counts() {
		switch key.What {
		case telemetry.Request:
			o.ObserveInt64(r.kubeRequests, int64(n), metric.WithAttributes(verbKey.String(key.Label)))
		case telemetry.Failure:
			o.ObserveInt64(r.kubeFailures, int64(n), metric.WithAttributes(verbKey.String(key.Label)))
		case telemetry.Answer:
			o.ObserveInt64(r.dnsAnswers, int64(n), metric.WithAttributes(codeKey.String(key.Label)))
		}
	}
	return nil
}
