package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/balancer/telemetry"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
	counts "github.com/sidestep-lb/sidestep/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const target = "k8s:///quiz.kiada:80"

func endpoints() []discovery.Endpoint {
	var list []discovery.Endpoint
	for i, zone := range []string{"a", "a", "b"} {
		list = append(list, discovery.Endpoint{
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80), Pod: fmt.Sprintf("quiz-%d", i), Zone: zone,
			Ready: i < 2, Serving: true, Terminating: i == 2,
		})
	}
	return list
}

// hurt is a source that finds endpoints, and then fails.
type hurt struct{ failed chan struct{} }

func (h *hurt) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	r.Update(discovery.NewSnapshot(endpoints()))
	r.Error(errors.New("connection refused"))
	r.Error(fmt.Errorf("list: %w", discovery.ErrForbidden))
	close(h.failed)
	<-ctx.Done()
}

type conn struct{}

func (conn) Drain() {}

func newBalancer(t testing.TB, name string, config balancer.Config) *adapter.Balancer {
	t.Helper()
	b, err := adapter.New(config, adapter.Hooks{Name: name, Adapter: "grpc", Connect: func(*adapter.Backend) adapter.Conn { return conn{} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	b.Update(endpoints())
	return b
}

func request(t testing.TB, b *adapter.Balancer, o health.Outcome) {
	t.Helper()
	p, err := b.Pick(adapter.Request{})
	if err != nil {
		t.Fatal(err)
	}
	p.Done(adapter.Result{Outcome: o})
}

// report returns a function that collects all series, as name{attribute=value,…}.
func report(t testing.TB, config telemetry.Config) func() map[string]float64 {
	t.Helper()
	reader := metric.NewManualReader()
	stop, err := telemetry.Report(metric.NewMeterProvider(metric.WithReader(reader)), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(stop(), stop()); err != nil {
			t.Error(err)
		}
	})
	return func() map[string]float64 { return collect(t, reader) }
}

func collect(t testing.TB, reader metric.Reader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	put := func(name string, set attribute.Set, value float64) {
		var list []string
		for _, kv := range set.ToSlice() {
			if name := strings.TrimPrefix(string(kv.Key), "sidestep."); name != "target" || kv.Value.AsString() != target {
				list = append(list, name+"="+kv.Value.String())
			}
		}
		values[strings.TrimPrefix(name, "sidestep.")+"{"+strings.Join(list, ",")+"}"] = value
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, p.Value)
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, float64(p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					put(m.Name, p.Attributes, float64(p.Count))
				}
			}
		}
	}
	return values
}

// wants checks what has come to the values before, which are of the whole process.
func wants(t *testing.T, got, before, want map[string]float64) {
	t.Helper()
	for name, value := range want {
		if v, ok := got[name]; !ok || v-before[name] != value {
			t.Errorf("%s is %v (%t) after %v, want %v more", name, v, ok, before[name], value)
		}
	}
}

func TestDiscoveryIsReported(t *testing.T) {
	collect := report(t, telemetry.Config{})
	before := collect()
	source := &hurt{failed: make(chan struct{})}
	parsed, err := discovery.ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	sub := discovery.Watch(source, parsed)
	<-source.failed
	counts.Count(counts.Request, "list")
	counts.Count(counts.Answer, "NXDOMAIN")
	got := collect()
	wants(t, got, before, map[string]float64{
		"discovery.endpoints{state=ready,zone=a}":   2,
		"discovery.endpoints{state=serving,zone=b}": 1,
		"discovery.stale{}":                         1,
		"discovery.updates{}":                       1,
		"discovery.errors{error.type=other}":        1,
		"discovery.errors{error.type=forbidden}":    1,
		"discovery.kube.requests{verb=list}":        1,
		"discovery.dns.answers{code=NXDOMAIN}":      1,
	})
	if age, ok := got["discovery.age{}"]; !ok || age < 0 || age > 60 {
		t.Errorf("the age is %v (%t)", age, ok)
	}
	sub.Close()
	if _, ok := collect()["discovery.stale{}"]; ok {
		t.Error("a target that nobody watches any more is reported")
	}
}

func TestBalancersAreReported(t *testing.T) {
	collect := report(t, telemetry.Config{Zone: "a"})
	before := collect()
	b := newBalancer(t, target, balancer.Config{Policy: balancer.RoundRobin})
	another := newBalancer(t, target, balancer.Config{Policy: balancer.RoundRobin}) // another channel
	for range 3 {
		request(t, b, health.Success)
		request(t, another, health.Success)
	}
	p, err := b.Pick(adapter.Request{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Done(adapter.Result{})
	b.Retried(balancer.Broken)
	b.Retried("because") // nobody knows that one
	wants(t, collect(), before, map[string]float64{
		"balancer.backends{adapter=grpc,state=fit,zone=a}":                        4,
		"balancer.backends{adapter=grpc,state=fit,zone=b}":                        2,
		"balancer.requests{adapter=grpc,cross_zone=false,outcome=success,zone=a}": 4,
		"balancer.requests{adapter=grpc,cross_zone=true,outcome=success,zone=b}":  2,
		"balancer.retries{adapter=grpc,reason=broken}":                            1,
		"balancer.retries{adapter=grpc,reason=hedge}":                             0,
		"balancer.ejections{adapter=grpc,cause=consecutive_failures}":             0,
		"balancer.readmissions{adapter=grpc}":                                     0,
		"balancer.fail_opens{adapter=grpc}":                                       0,
		"balancer.failed_picks{adapter=grpc}":                                     0,
	})
	sum := 0.0
	for name, v := range collect() {
		if strings.HasPrefix(name, "balancer.in_flight") {
			sum += v
		}
	}
	if sum != 1 {
		t.Errorf("%v in flight", sum)
	}
}

// Counters must not fall when a channel goes idle, which closes its Balancer.
func TestCountersOutliveTheirBalancers(t *testing.T) {
	const name = "k8s:///other.kiada:80"
	collect := report(t, telemetry.Config{})
	requests := func() (n float64) {
		for series, v := range collect() {
			if strings.HasPrefix(series, "balancer.requests{") && strings.Contains(series, "target="+name) {
				n += v
			}
		}
		return n
	}
	for range 3 {
		want := requests() + 10
		b := newBalancer(t, name, balancer.Config{})
		for range 10 {
			request(t, b, health.Success)
		}
		if n := requests(); n != want {
			t.Errorf("%v requests, want %v", n, want)
		}
		b.Close()
		if n := requests(); n != want {
			t.Errorf("%v requests after Close, want %v", n, want)
		}
	}
}

func TestPodsAreReportedIfAskedFor(t *testing.T) {
	const name = "k8s:///pods.kiada:80"
	pods := report(t, telemetry.Config{Pods: true})
	without := report(t, telemetry.Config{})
	b := newBalancer(t, name, balancer.Config{Policy: balancer.RoundRobin})
	for range 6 {
		request(t, b, health.Success)
	}
	wants(t, pods(), nil, map[string]float64{
		"balancer.requests{k8s.pod.name=quiz-2,server.address=10.0.0.3:80,adapter=grpc,outcome=success,target=" + name + ",zone=b}": 2,
		"balancer.backends{k8s.pod.name=quiz-0,server.address=10.0.0.1:80,adapter=grpc,state=fit,target=" + name + ",zone=a}":       1,
	})
	for series := range without() {
		if strings.Contains(series, "quiz-") || strings.Contains(series, "10.0.0") {
			t.Errorf("%s, though pods were not asked for", series)
		}
	}
}

func TestDurationsAreSampled(t *testing.T) {
	const name = "k8s:///timed.kiada:80"
	collect := report(t, telemetry.Config{})
	b := newBalancer(t, name, balancer.Config{})
	const each = 12 * time.Millisecond
	for range time.Tick(each) {
		request(t, b, health.Success)
		if b.Status().Requests["a"][health.Success] > 10 {
			break
		}
	}
	n := collect()["balancer.request.duration{adapter=grpc,outcome=success,target="+name+"}"]
	if n < 3 {
		t.Errorf("%v durations of requests that were %v apart", n, each)
	}
}

// The table of the package comment is what is reported, with its units.
func TestTheTableIsTrue(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string) // unit and kind by name
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(strings.TrimPrefix(line, "//")); len(fields) > 3 && strings.HasPrefix(fields[0], "sidestep.") {
			documented[fields[0]] = fields[1] + " " + strings.TrimSuffix(fields[2], ",")
		}
	}
	reader := metric.NewManualReader()
	stop, err := telemetry.Report(metric.NewMeterProvider(metric.WithReader(reader)), telemetry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	source := &hurt{failed: make(chan struct{})}
	parsed, _ := discovery.ParseTarget(target)
	sub := discovery.Watch(source, parsed)
	defer sub.Close()
	<-source.failed
	b := newBalancer(t, target, balancer.Config{})
	request(t, b, health.Success)
	for _, what := range []string{counts.Request, counts.Failure, counts.Answer} {
		counts.Count(what, "list")
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	var reported []string
	for _, m := range all.ScopeMetrics[0].Metrics {
		kind := "gauge"
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			kind = "counter"
			if !data.IsMonotonic {
				t.Errorf("%s may fall", m.Name)
			}
		case metricdata.Histogram[float64]:
			kind = "histogram"
		}
		reported = append(reported, m.Name)
		if got, want := m.Unit+" "+kind, documented[m.Name]; got != want {
			t.Errorf("%s is %q, documented as %q", m.Name, got, want)
		}
		if m.Description == "" {
			t.Errorf("%s has no description", m.Name)
		}
	}
	for name := range documented {
		if !slices.Contains(reported, name) {
			t.Errorf("%s is documented and not reported", name)
		}
	}
}

// What a pick costs with a reader attached that collects all the time.
func BenchmarkPick(b *testing.B) {
	for _, policy := range []string{balancer.Adaptive, balancer.RoundRobin} {
		for _, reported := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/reported=%t", policy, reported), func(b *testing.B) {
				lb := newBalancer(b, "k8s:///cost.kiada:80", balancer.Config{Policy: policy})
				if reported {
					collect := report(b, telemetry.Config{})
					done := make(chan struct{})
					defer func() { done <- struct{}{} }()
					go func() {
						for {
							select {
							case <-done:
								return
							case <-time.After(time.Second):
								collect()
							}
						}
					}()
				}
				b.ReportAllocs()
				for b.Loop() {
					request(b, lb, health.Success)
				}
			})
		}
	}
}

func ExampleReport() {
	stop, err := telemetry.Report(otel.GetMeterProvider(), telemetry.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(stop())
	// Output: <nil>
}
