package grpcbalancer

import (
	gbalancer "google.golang.org/grpc/balancer"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
)

// ParseReport reads the load report of a trailer.
var ParseReport = parseReport

// ResultOf says what the end of an attempt means.
func ResultOf(info gbalancer.DoneInfo) (adapter.Result, bool) {
	return (*callContext)(nil).resultOf(endingOf(&info), &info, false)
}
