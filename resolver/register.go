package resolver

import (
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
)

func init() {
	for _, scheme := range Schemes() {
		grpcresolver.Register(NewBuilder(scheme, Config{}))
	}
}

// Schemes returns the schemes of the targets that this package resolves: k8s,
// kubernetes, headless and static.
func Schemes() []string {
	return []string{discovery.SchemeKubernetes, "kubernetes", discovery.SchemeHeadless, discovery.SchemeStatic}
}
