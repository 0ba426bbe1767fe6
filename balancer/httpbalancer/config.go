package httpbalancer

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// Config says how a Transport works. The zero value is ready to use in a pod.
type Config struct {
	// Balancer says how to choose among the pods of a Service.
	Balancer balancer.Config
	// Source finds the endpoints of Services. The default is the API server of
	// the cluster, with DNS to fall back on where that refuses or cannot be
	// reached from the start (see [discovery.Fallback]; kube.InCluster alone is
	// the API server without it).
	Source discovery.Source
	// Base serves all hosts that are no Services, and is the pattern of the
	// transports to the pods: they are clones of it that use no proxy, dial
	// nothing but their pod, keep up to 100 idle connections unless
	// MaxIdleConnsPerHost says otherwise, and ping HTTP/2 connections that fall
	// silent. Its DialContext and DialTLSContext, if set, are called with the
	// address of the pod; a DialTLSContext has to know the TLS server name itself.
	// Changes after New have no effect on the pods' transports.
	//
	// The default is a clone of http.DefaultTransport that gives a pod two
	// seconds to accept a connection.
	Base *http.Transport
	// Locality is where this client runs, for topology hints and
	// internalTrafficPolicy Local. The default is what [topology.Here] finds.
	Locality topology.Locality
	// SpillOver adds the endpoints that kube-proxy would not use for hints, as
	// levels of lower priority, and makes the client's own zone the first level
	// where there are no hints (see [topology.Spill]): the next level takes over
	// as the first becomes unfit or, with a policy that goes by latency, too slow.
	SpillOver bool
	// SubsetSize, if not 0, is to how many endpoints of a Service this client
	// connects; which ones follows from the name of its pod, see [subset.Chooser].
	SubsetSize int
	// SubsetPeers is a target of the Service that this client itself belongs to,
	// such as "k8s:///shop", with a port if that Service has several. With it the
	// clients share out the endpoints evenly among them, as soon as they know
	// each other ([subset.Bounded]). Without it, or if its pods are not to be
	// found or this client's is not one of them, each chooses for itself
	// ([subset.Rendezvous]). It counts with a SubsetSize only.
	SubsetPeers string
	// Probe, if set, says how to probe the pods.
	Probe *Probe
	// DrainTimeout is how long requests in flight may go on after their backend
	// has left the Service, or after Close. The default is 30 seconds.
	DrainTimeout time.Duration
	// Target, if set, says which requests go to a Service, and to which. The
	// default is [ServiceTarget], and to ask the source or DNS about names of
	// one or two labels, since example.com might be a Service as well. With a
	// Source of one's own that means one watch for each such name, so a program
	// that fetches from arbitrary hosts had better set Target.
	Target func(u *url.URL) (discovery.Target, bool)
}

const (
	defaultDrainTimeout = 30 * time.Second
	// maxIdleConnsPerBackend replaces net/http's default of 2, which closes most
	// of the connections after each burst (go.dev/issue/13801).
	maxIdleConnsPerBackend = 100
)

// validate names the first field that is wrong.
func (c Config) validate() error {
	if err := c.Balancer.Validate(); err != nil {
		return fmt.Errorf("httpbalancer config: Balancer: %w", err)
	}
	if c.SubsetSize < 0 {
		return fmt.Errorf("httpbalancer config: SubsetSize: %d is negative", c.SubsetSize)
	}
	if c.SubsetPeers != "" {
		if _, err := discovery.ParseTarget(c.SubsetPeers); err != nil {
			return fmt.Errorf("httpbalancer config: SubsetPeers: %w", err)
		}
	}
	if c.DrainTimeout < 0 {
		return fmt.Errorf("httpbalancer config: DrainTimeout: %v is negative", c.DrainTimeout)
	}
	return c.Probe.validate()
}
