package kube

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// Config says how to reach an API server. The zero value is right in a pod.
type Config struct {
	// Host is the API server's address, such as https://10.96.0.1:443, or
	// http://127.0.0.1:8001 for kubectl proxy. Empty means the cluster that the
	// process runs in, with the pod's own token and certificates, both of which
	// are read again when they change.
	Host string
	// Client does the requests to Host and adds what proves the user's identity.
	// Its Timeout is not used, as it would end watches. Nil is a client that
	// adds nothing and trusts the system's certificates. Without a Host it is
	// not used.
	Client *http.Client
	// Namespace is that of targets that name none. Empty means the pod's own: that
	// of its service account or, in a pod without one, that of the search path of
	// resolv.conf. Where neither tells it, such targets are an error that wraps
	// discovery.ErrUnavailable.
	Namespace string
	// Domain is the cluster's: SERVICE.NAMESPACE.svc.DOMAIN is a Service, and the
	// same name in another domain is none, see [ForeignNameError]. Empty means that
	// of the search path of resolv.conf or, where that is not a pod's and there is no
	// Host, that of the issuer of the service account's token, or else cluster.local.
	Domain string
	// ResolvConf is the file with the search path. Empty means /etc/resolv.conf.
	ResolvConf string
	// Family, IPv4 or IPv6, leaves out the addresses of the other one. Empty
	// means both: an endpoint is a pod, its Addr is in the Service's first
	// family, and its AltAddr in the second, if it has one.
	Family string
	// API says what endpoints are read from. Empty means EndpointSlices or, for as
	// long as the server has none (404) or refuses to tell them (403), Endpoints.
	API API
	// StartJitter is for how long after New first requests may be put off, each
	// by a time of its own. It spares the API server where many processes restart
	// as one, at the price of a later first Snapshot. The default is 0, not at all.
	StartJitter time.Duration
	// AllowLocalAddresses accepts endpoints that no pod can have, such as
	// loopback addresses, which are refused otherwise (see
	// discovery.CheckAddr). It is for tests and for trying things out on one
	// machine.
	AllowLocalAddresses bool
}

// A Source reads the endpoints of Services from one API server. It implements
// discovery.Source. It may be used from any goroutine.
type Source struct {
	// Set at the start and read-only.
	config     Config
	accountDir string // where the kubelet puts a pod's credentials
	timing     kubeapi.Timing
	client     func() (*kubeapi.Client, error)
	services   services
	domain     func() string

	known atomic.Pointer[string] // the namespace, once something has told it
}

var _ discovery.Source = (*Source)(nil)

// New returns a Source. It does no I/O and cannot fail: whatever is wrong with
// the config is reported by Watch. Users share a watch only if they share the
// Source, so make one for each API server.
func New(config Config) *Source {
	s := &Source{config: config, accountDir: kubeapi.ServiceAccountDir}
	if config.StartJitter > 0 {
		s.timing.SpreadUntil = time.Now().Add(config.StartJitter)
	}
	s.services.api = config.API
	if config.Host != "" {
		s.client = sync.OnceValues(s.newClient)
	} else {
		cache := new(clientCache)
		s.client = func() (*kubeapi.Client, error) { return cache.get(s.newClient) }
	}
	s.domain = sync.OnceValue(s.clusterDomain)
	return s
}

var inCluster = sync.OnceValue(func() *Source { return New(Config{}) })

// InCluster returns the Source of the cluster that the process runs in. It is
// the same one at each call, so that all its users share their watches. Outside
// a cluster its watches fail with discovery.ErrUnavailable.
func InCluster() *Source { return inCluster() }

func (s *Source) newClient() (*kubeapi.Client, error) {
	if f := s.config.Family; f != "" && f != kubeapi.AddressTypeIPv4 && f != kubeapi.AddressTypeIPv6 {
		return nil, fmt.Errorf("kube.Config.Family is %q, which is neither IPv4 nor IPv6", f)
	}
	if a := s.config.API; a != "" && a != EndpointSlices && a != Endpoints {
		return nil, fmt.Errorf("kube.Config.API is %q, which is neither EndpointSlices nor Endpoints", a)
	}
	if s.config.Host != "" {
		return kubeapi.NewClient(kubeapi.Config{Host: s.config.Host, HTTPClient: s.config.Client})
	}
	config, err := kubeapi.InCluster(s.accountDir)
	if err != nil {
		return nil, s.notInCluster()
	}
	return kubeapi.NewClient(config)
}

// envPortNames looks the target's port up in the environment, which knows only
// the Services of the pod's own namespace and cluster.
func (s *Source) envPortNames(target discovery.Target) []string {
	if target.Port.Number == 0 || s.config.Host != "" || target.Namespace != s.podNamespace() {
		return nil
	}
	return envPortNames(os.Environ(), target.Service, target.Port.Number)
}

// Watch implements discovery.Source. It returns early if there is no API server
// to ask at all; the error wraps discovery.ErrUnavailable then.
func (s *Source) Watch(ctx context.Context, target discovery.Target, r discovery.Receiver) {
	if target.Service == "" {
		r.Error(fmt.Errorf("%s: %w: the target names no Service", target, discovery.ErrUnavailable))
		return
	}
	target = s.Canonical(target)
	if target.Domain != "" {
		r.Update(s.foreign(target))
		return
	}
	client, err := s.client()
	if err != nil {
		r.Error(fmt.Errorf("%s: %w: %w", target, discovery.ErrUnavailable, err))
		return
	}
	if target.Namespace == "" {
		r.Error(errNoNamespace(target))
		return
	}
	service := s.services.join(client, s.timing, serviceKey{target.Namespace, target.Service})
	defer s.services.leave(service)
	p := publisher{
		target:       target,
		envPortNames: s.envPortNames(target),
		state:        service.state,
		receiver:     r,
		memo:         memo{allowLocal: s.config.AllowLocalAddresses, family: s.config.Family},
	}
	if target.Via != "" {
		p.outside = &outside{target: target, state: service.state}
	}
	if target.Via == discovery.ViaNodePort {
		cluster := s.services.join(client, s.timing, theCluster)
		defer s.services.leave(cluster)
		p.outside.nodes = cluster.state
	}
	p.run(ctx)
}
