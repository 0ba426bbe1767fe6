package main

import (
	"fmt"
	"net/http"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/sidestep-lb/sidestep/balancer/telemetry"
)

// prometheusHandler reports sidestep's metrics and returns what Prometheus reads
// them from.
func prometheusHandler() (http.Handler, error) {
	registry := client.NewRegistry()
	exporter, err := prometheus.New(prometheus.WithRegisterer(registry), prometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("make the exporter: %w", err)
	}
	// It reports for as long as the program runs.
	if _, err := telemetry.Report(metric.NewMeterProvider(metric.WithReader(exporter)), telemetry.Config{}); err != nil {
		return nil, err
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}
