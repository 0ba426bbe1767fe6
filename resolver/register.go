package resolver

import (
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/static"
)

func init() {
	for _, scheme := range []string{discovery.SchemeKubernetes, "kubernetes", discovery.SchemeHeadless, discovery.SchemeStatic} {
		grpcresolver.Register(NewBuilder(scheme, Config{}))
	}
}

// defaultSource returns the source of the process for a scheme that
// discovery.ParseTarget knows.
func defaultSource(scheme string) discovery.Source {
	switch scheme {
	case discovery.SchemeKubernetes:
		return discovery.Fallback(kube.InCluster(), dns.System())
	case discovery.SchemeHeadless:
		return dns.System()
	default:
		return static.Source{}
	}
}
