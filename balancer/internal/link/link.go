// Package link is what packages balancer and balancer/adapter have of each other
// that is nobody else's: adapter imports balancer, and balancer hands on what
// adapter knows. Each sets its variable when it is initialized.
package link

import (
	"sync"

	"github.com/sidestep-lb/sidestep/discovery"
)

// TraceKey is the key of a *balancer.Trace in a context.
type TraceKey struct{}

// HashKey is the key of the hash of a request's key in a context.
type HashKey struct{}

// Policies are those of programs, by name: func(random func() uint64) balancer.Policy.
var Policies sync.Map

// Tracing is how adapter notes attempts in a *balancer.Trace.
type Tracing[Trace any, Reason ~string] struct {
	Begin func(t Trace, target, policy string, e *discovery.Endpoint, why Reason) (number int)
	End   func(t Trace, number, status int, err error)
	Undo  func(t Trace, number int)
}

// Reporting is what adapter knows of all Balancers.
type Reporting[Status, Total, Sample any] struct {
	Statuses        func() []Status
	Totals          func() []Total
	SampleLatencies func(f func(Sample)) (stop func())
}

// Set when the packages are initialized, and read-only afterwards. This package cannot
// name the types of balancer, which imports it.
var traces, reports any

// SetTracing is called by balancer.
func SetTracing[Trace any, Reason ~string](t Tracing[Trace, Reason]) { traces = t }

// TracingOf returns what SetTracing was told.
func TracingOf[Trace any, Reason ~string]() Tracing[Trace, Reason] {
	return traces.(Tracing[Trace, Reason])
}

// SetReporting is called by adapter.
func SetReporting[Status, Total, Sample any](r Reporting[Status, Total, Sample]) { reports = r }

// ReportingOf returns what SetReporting was told. In a program that has no adapter, its
// functions are nil.
func ReportingOf[Status, Total, Sample any]() Reporting[Status, Total, Sample] {
	r, _ := reports.(Reporting[Status, Total, Sample])
	return r
}
