package resolver

import (
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
)

func init() {
	for _, scheme := range []string{discovery.SchemeKubernetes, "kubernetes", discovery.SchemeHeadless, discovery.SchemeStatic} {
		grpcresolver.Register(NewBuilder(scheme, Config{}))
	}
}
