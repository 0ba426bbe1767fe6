package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/balancer/telemetry"
)

// twice is the Trace of a request that was sent to two backends.
func twice(t *testing.T) *balancer.Trace {
	t.Helper()
	b := newBalancer(t, target, balancer.Config{Policy: balancer.RoundRobin})
	var trace balancer.Trace
	first := adapter.BeginAttempt(&trace, b.Backends()[0], "")
	adapter.EndAttempt(&trace, first, 0, errors.New("connection reset"))
	adapter.EndAttempt(&trace, adapter.BeginAttempt(&trace, b.Backends()[1], balancer.Broken), 200, nil)
	return &trace
}

func text(attributes []attribute.KeyValue) string {
	var list []string
	for _, kv := range attributes {
		list = append(list, string(kv.Key)+"="+kv.Value.String())
	}
	return strings.Join(list, " ")
}

func TestTheCallersSpanSaysWhereTheRequestWentAndWhyTwice(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
	ctx, span := tracer.Start(t.Context(), "request")
	made := twice(t)
	telemetry.OnSpan(ctx, made)
	span.End()
	ended := recorder.Ended()
	if len(ended) != 1 {
		t.Fatalf("%d spans, want the caller's alone", len(ended))
	}
	last := made.Attempts()[1]
	got := text(ended[0].Attributes())
	for _, want := range []string{
		"sidestep.target=" + target, "sidestep.policy=round_robin", "sidestep.attempts=2", "sidestep.zone=" + last.Backend.Zone,
		"server.address=" + last.Backend.Addr.String(), "k8s.pod.name=" + last.Backend.Pod, "http.response.status_code=200",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the span has %s, want %s", got, want)
		}
	}
	if events := ended[0].Events(); len(events) != 1 || events[0].Name != "sidestep.attempt" || !strings.Contains(text(events[0].Attributes), "sidestep.reason=broken") {
		t.Errorf("the events are %v", events)
	}
}

func TestAttemptsHaveSpansIfAskedFor(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
	ctx, span := tracer.Start(t.Context(), "request")
	telemetry.AttemptSpans(tracer)(ctx, twice(t))
	span.End()
	ended := recorder.Ended()
	if len(ended) != 3 {
		t.Fatalf("%d spans, want three", len(ended))
	}
	for i, code := range []codes.Code{codes.Error, codes.Unset} {
		if s := ended[i]; s.Name() != "sidestep.attempt" || s.Status().Code != code || s.Parent().SpanID() != span.SpanContext().SpanID() || s.EndTime().Before(s.StartTime()) {
			t.Errorf("attempt %d: %s, %v, from %v to %v", i, s.Name(), s.Status(), s.StartTime(), s.EndTime())
		}
	}
}

func TestNothingIsNotedWhereNothingIsRecorded(t *testing.T) {
	telemetry.OnSpan(t.Context(), twice(t))
	telemetry.OnSpan(t.Context(), new(balancer.Trace))
	recorder := tracetest.NewSpanRecorder()
	ctx, span := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test").Start(t.Context(), "request")
	telemetry.OnSpan(ctx, new(balancer.Trace)) // of a request that was never sent
	span.End()
	if got := recorder.Ended()[0].Attributes(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func ExampleOnSpan() {
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("shop")
	ctx, span := tracer.Start(context.Background(), "checkout")

	var trace balancer.Trace // an adapter fills it in
	telemetry.OnSpan(ctx, &trace)

	span.End()
	fmt.Println(len(recorder.Ended()), "span")
	// Output: 1 span
}
