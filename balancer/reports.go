package balancer

import "github.com/sidestep-lb/sidestep/balancer/internal/link"

func reports() link.Reporting[Status, Total, Sample] {
	return link.ReportingOf[Status, Total, Sample]()
}

// Statuses returns the state of each Balancer of the process, by target.
func Statuses() []Status {
	if r := reports(); r.Statuses != nil {
		return r.Statuses()
	}
	return nil
}

// Totals returns what the Balancers of the process have counted, by target and adapter.
func Totals() []Total {
	if r := reports(); r.Totals != nil {
		return r.Totals()
	}
	return nil
}

// SampleLatencies calls f, which must not block, for some requests, a hundred a second of
// each Balancer at most, until stop is called. Many goroutines call f.
func SampleLatencies(f func(Sample)) (stop func()) {
	if r := reports(); r.SampleLatencies != nil {
		return r.SampleLatencies(f)
	}
	return func() {}
}
