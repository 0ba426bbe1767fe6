// Package telemetry tells OpenTelemetry what the SDK sees. It uses the global
// MeterProvider: a program that sets none pays nothing, and one that does finds
// these metrics under the scope github.com/sidestep-lb/sidestep.
//
//	sidestep.discovery.endpoints  gauge  endpoints of a target, by state (ready, not_ready)
//	sidestep.discovery.stale      gauge  1 while the endpoints of a target are kept through a failure, else 0
//
// All of them carry the attribute sidestep.target. Nothing is recorded per
// request: gauges are read when a reader collects.
package telemetry

import (
	"context"
	"iter"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const scope = "github.com/sidestep-lb/sidestep"

// A Target is what is reported of one watched target.
type Target struct {
	Name            string
	Ready, NotReady int
	Stale           bool
}

// Observe reports, from now on, what targets yields at each collection.
func Observe(targets func() iter.Seq[Target]) {
	meter := otel.Meter(scope)
	endpoints, err := meter.Int64ObservableGauge("sidestep.discovery.endpoints",
		metric.WithUnit("{endpoint}"), metric.WithDescription("Endpoints of a target, by state."))
	if err != nil {
		otel.Handle(err)
		return
	}
	stale, err := meter.Int64ObservableGauge("sidestep.discovery.stale",
		metric.WithDescription("1 while the endpoints of a target are kept through a failure of discovery, else 0."))
	if err != nil {
		otel.Handle(err)
		return
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for t := range targets() {
			name := attribute.String("sidestep.target", t.Name)
			o.ObserveInt64(endpoints, int64(t.Ready), metric.WithAttributes(name, attribute.String("sidestep.state", "ready")))
			o.ObserveInt64(endpoints, int64(t.NotReady), metric.WithAttributes(name, attribute.String("sidestep.state", "not_ready")))
			o.ObserveInt64(stale, int64(flag(t.Stale)), metric.WithAttributes(name))
		}
		return nil
	}, endpoints, stale)
	if err != nil {
		otel.Handle(err)
	}
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
