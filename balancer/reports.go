package balancer

import (
	"slices"
	"strings"

	"github.com/sidestep-lb/sidestep/balancer/internal/link"
)

func reports() link.Reporting[Status, Total, Sample] {
	return link.ReportingOf[Status, Total, Sample]()
}

// Statuses returns the state of each Balancer of the process, by target.
func Statuses() []Status {
	r := reports()
	if r.Statuses == nil {
		return nil
	}
	statuses := r.Statuses()
	// It is sorted here, as this is linked only by who calls it.
	slices.SortFunc(statuses, func(a, b Status) int {
		return strings.Compare(a.Target+" "+a.Adapter+" "+a.Client, b.Target+" "+b.Adapter+" "+b.Client)
	})
	return statuses
}

// Totals returns what the Balancers of the process have counted, by target and adapter.
func Totals() []Total {
	r := reports()
	if r.Totals == nil {
		return nil
	}
	totals := r.Totals()
	slices.SortFunc(totals, func(a, b Total) int { return strings.Compare(a.Target+" "+a.Adapter, b.Target+" "+b.Adapter) })
	return totals
}

// SampleLatencies calls f, which must not block, for some requests, a hundred a second of
// each Balancer at most, until stop is called. Many goroutines call f.
func SampleLatencies(f func(Sample)) (stop func()) {
	if r := reports(); r.SampleLatencies != nil {
		return r.SampleLatencies(f)
	}
	return func() {}
}
