// Package metrics reports to OpenTelemetry what discovery sees.
//
//	stop, err := metrics.Report(otel.GetMeterProvider())
//
// reports two gauges of every target that the process watches:
//
//	sidestep.discovery.endpoints  endpoints of the target, by sidestep.state (ready, not_ready)
//	sidestep.discovery.stale      1 while the endpoints are kept through a failure, else 0
//
// Both carry the attribute sidestep.target. They are read when a reader
// collects; nothing is recorded per request. Programs that do not import the
// package link no OpenTelemetry.
package metrics

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/sidestep-lb/sidestep/discovery"
)

const scope = "github.com/sidestep-lb/sidestep"

// Report reports to provider until stop is called.
func Report(provider metric.MeterProvider) (stop func() error, err error) {
	meter := provider.Meter(scope)
	endpoints, err := meter.Int64ObservableGauge("sidestep.discovery.endpoints",
		metric.WithUnit("{endpoint}"), metric.WithDescription("Endpoints of a target, by state."))
	if err != nil {
		return nil, fmt.Errorf("make a gauge: %w", err)
	}
	stale, err := meter.Int64ObservableGauge("sidestep.discovery.stale",
		metric.WithDescription("1 while the endpoints of a target are kept through a failure of discovery, else 0."))
	if err != nil {
		return nil, fmt.Errorf("make a gauge: %w", err)
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, s := range discovery.Statuses() {
			observe(o, endpoints, stale, s)
		}
		return nil
	}, endpoints, stale)
	if err != nil {
		return nil, fmt.Errorf("register the gauges: %w", err)
	}
	return registration.Unregister, nil
}

func observe(o metric.Observer, endpoints, stale metric.Int64Observable, s discovery.Status) {
	target := attribute.String("sidestep.target", s.Target.String())
	ready, notReady := 0, 0
	if s.Snapshot != nil {
		ready = s.Snapshot.Ready()
		notReady = len(s.Snapshot.Endpoints) - ready
	}
	o.ObserveInt64(endpoints, int64(ready), metric.WithAttributes(target, attribute.String("sidestep.state", "ready")))
	o.ObserveInt64(endpoints, int64(notReady), metric.WithAttributes(target, attribute.String("sidestep.state", "not_ready")))
	flag := int64(0)
	if s.Err != nil {
		flag = 1
	}
	o.ObserveInt64(stale, flag, metric.WithAttributes(target))
}
