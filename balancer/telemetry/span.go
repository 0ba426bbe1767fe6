package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/sidestep-lb/sidestep/balancer"
)

// OnSpan notes on the span of ctx where a request went, and why it was sent once
// more if it was. It is what the configs of the adapters call Traced:
//
//	httpbalancer.Config{Traced: telemetry.OnSpan}
//	grpcbalancer.Config{Traced: telemetry.OnSpan}
//
// The span is the caller's, or that which otelhttp has begun around the
// transport: otelgrpc's own is over by then. It gets the attributes
// sidestep.target, sidestep.policy, sidestep.zone, sidestep.attempts,
// server.address and k8s.pod.name, of the backend that was asked last, and an
// event sidestep.attempt for each further attempt. A span that is not recorded
// costs nothing.
func OnSpan(ctx context.Context, t *balancer.Trace) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attempts := t.Attempts()
	if len(attempts) == 0 {
		return
	}
	for _, a := range attempts[1:] {
		span.AddEvent("sidestep.attempt", trace.WithTimestamp(a.Began), trace.WithAttributes(attributesOf(a)...))
	}
	last := attempts[len(attempts)-1]
	last.Reason = "" // which is in its event
	span.SetAttributes(append(attributesOf(last),
		targetKey.String(t.Target()), policyKey.String(t.Policy()), attribute.Int("sidestep.attempts", len(attempts)))...)
}

// AttemptSpans returns a function for Traced that makes a span for each attempt,
// below the span of ctx, besides what OnSpan does.
func AttemptSpans(tracer trace.Tracer) func(ctx context.Context, t *balancer.Trace) {
	return func(ctx context.Context, t *balancer.Trace) {
		OnSpan(ctx, t)
		for _, a := range t.Attempts() {
			_, span := tracer.Start(ctx, "sidestep.attempt", trace.WithTimestamp(a.Began), trace.WithSpanKind(trace.SpanKindInternal),
				trace.WithAttributes(append(attributesOf(a), targetKey.String(t.Target()))...))
			if a.Err != nil {
				span.SetStatus(codes.Error, a.Err.Error())
			}
			span.End(trace.WithTimestamp(a.Began.Add(a.Took)))
		}
	}
}

func attributesOf(a balancer.Attempt) []attribute.KeyValue {
	list := []attribute.KeyValue{addressKey.String(a.Backend.Addr.String())}
	for _, more := range []struct {
		key   attribute.Key
		value string
	}{{podKey, a.Backend.Pod}, {zoneKey, a.Backend.Zone}, {reasonKey, string(a.Reason)}} {
		if more.value != "" {
			list = append(list, more.key.String(more.value))
		}
	}
	if a.Status != 0 {
		list = append(list, attribute.Int("http.response.status_code", a.Status))
	}
	return list
}
