package discovery_test

import (
	"errors"
	"sync"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/sidestep-lb/sidestep/discovery"
)

// metrics is set up once: instruments made before keep the first provider.
var metrics = sync.OnceValue(func() metric.Reader {
	reader := metric.NewManualReader()
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(reader)))
	return reader
})

func TestMetricsTellEndpointsAndStaleness(t *testing.T) {
	reader := metrics()
	source := newHand()
	sub := discovery.Watch(source, target(t, "k8s:///metered.kiada:80"))
	r := <-source.receivers
	s := snapshot("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	s.Endpoints[2].Ready = false
	r.Update(s)
	r.Error(errors.New("connection refused"))

	got := gauges(t, reader, "k8s:///metered.kiada:80")
	for name, want := range map[string]int64{
		"sidestep.discovery.endpoints ready": 2, "sidestep.discovery.endpoints not_ready": 1, "sidestep.discovery.stale ": 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s = %d (%t), want %d", name, v, ok, want)
		}
	}
	sub.Close()
	if got := gauges(t, reader, "k8s:///metered.kiada:80"); len(got) != 0 {
		t.Errorf("after Close: %v, want nothing", got)
	}
}

func gauges(t *testing.T, reader metric.Reader, target string) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	values := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, p := range m.Data.(metricdata.Gauge[int64]).DataPoints {
				if name, _ := p.Attributes.Value(attribute.Key("sidestep.target")); name.AsString() == target {
					state, _ := p.Attributes.Value(attribute.Key("sidestep.state"))
					values[m.Name+" "+state.AsString()] = p.Value
				}
			}
		}
	}
	return values
}
