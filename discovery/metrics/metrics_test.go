package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/metrics"
)

// hurt is a source that finds two ready endpoints and one that is not, and then
// fails.
type hurt struct{ failed chan struct{} }

func (h *hurt) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	var endpoints []discovery.Endpoint
	for _, a := range []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"} {
		endpoints = append(endpoints, discovery.Endpoint{Addr: netip.MustParseAddrPort(a), Ready: a != "10.0.0.3:80"})
	}
	r.Update(discovery.NewSnapshot(endpoints))
	r.Error(errors.New("connection refused"))
	close(h.failed)
	<-ctx.Done()
}

func TestTheGaugesTellEndpointsAndStaleness(t *testing.T) {
	reader := metric.NewManualReader()
	stop, err := metrics.Report(metric.NewMeterProvider(metric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	source := &hurt{failed: make(chan struct{})}
	target, err := discovery.ParseTarget("k8s:///quiz.kiada:80")
	if err != nil {
		t.Fatal(err)
	}
	sub := discovery.Watch(source, target)
	<-source.failed

	got := gauges(t, reader, target.String())
	for name, want := range map[string]int64{
		"sidestep.discovery.endpoints ready": 2, "sidestep.discovery.endpoints not_ready": 1, "sidestep.discovery.stale ": 1,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s = %d (%t), want %d", name, v, ok, want)
		}
	}
	sub.Close()
	if got := gauges(t, reader, target.String()); len(got) != 0 {
		t.Errorf("when nobody watches the target any more: %v, want nothing", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func ExampleReport() {
	stop, err := metrics.Report(otel.GetMeterProvider())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(stop())
	// Output: <nil>
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
