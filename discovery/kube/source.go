package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	// Namespace is that of targets that name none. Empty means the pod's own
	// or, outside a cluster, "default".
	Namespace string
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
	namespace  func() string
}

var _ discovery.Source = (*Source)(nil)

// New returns a Source. It does no I/O and cannot fail: whatever is wrong with
// the config is reported by Watch. Users share a watch only if they share the
// Source, so make one for each API server.
func New(config Config) *Source {
	s := &Source{config: config, accountDir: kubeapi.ServiceAccountDir}
	s.client = sync.OnceValues(s.newClient)
	s.namespace = sync.OnceValue(s.ownNamespace)
	return s
}

var inCluster = sync.OnceValue(func() *Source { return New(Config{}) })

// InCluster returns the Source of the cluster that the process runs in. It is
// the same one at each call, so that all its users share their watches. Outside
// a cluster its watches fail with discovery.ErrUnavailable.
func InCluster() *Source { return inCluster() }

func (s *Source) newClient() (*kubeapi.Client, error) {
	if s.config.Host != "" {
		return kubeapi.NewClient(kubeapi.Config{Host: s.config.Host, HTTPClient: s.config.Client})
	}
	config, err := kubeapi.InCluster(s.accountDir)
	if err != nil {
		return nil, fmt.Errorf("%w; outside of one, give kube.Config a Host", err)
	}
	return kubeapi.NewClient(config)
}

func (s *Source) ownNamespace() string {
	if s.config.Namespace != "" {
		return s.config.Namespace
	}
	content, _ := os.ReadFile(filepath.Join(s.accountDir, "namespace"))
	if namespace := strings.TrimSpace(string(content)); namespace != "" {
		return namespace
	}
	return "default"
}

// Canonical returns target with its namespace filled in and its domain left
// out, which has a meaning only for DNS: all names of a Service share a watch.
func (s *Source) Canonical(target discovery.Target) discovery.Target {
	if target.Namespace == "" {
		target.Namespace = s.namespace()
	}
	target.Domain = ""
	return target
}

// Watch implements discovery.Source. It returns early if there is no API server
// to ask at all; the error wraps discovery.ErrUnavailable then.
func (s *Source) Watch(ctx context.Context, target discovery.Target, r discovery.Receiver) {
	if target.Service == "" {
		r.Error(fmt.Errorf("%s: %w: the target names no Service", target, discovery.ErrUnavailable))
		return
	}
	client, err := s.client()
	if err != nil {
		r.Error(fmt.Errorf("%s: %w: %w", target, discovery.ErrUnavailable, err))
		return
	}
	target = s.Canonical(target)
	state := newState(target)

	var readers sync.WaitGroup
	readers.Go(func() {
		lw := kubeapi.ListWatch[kubeapi.EndpointSlice]{
			Client:        client,
			Path:          kubeapi.EndpointSlicesPath(target.Namespace),
			LabelSelector: kubeapi.LabelServiceName + "=" + target.Service,
			Timing:        s.timing,
		}
		lw.Run(ctx, sliceHandler{state})
	})
	readers.Go(func() {
		lw := kubeapi.ListWatch[kubeapi.Service]{
			Client:        client,
			Path:          kubeapi.ServicesPath(target.Namespace),
			FieldSelector: "metadata.name=" + target.Service,
			Timing:        s.timing,
		}
		lw.Run(ctx, serviceHandler{state})
	})
	s.publish(ctx, target, state, r)
	readers.Wait()
	client.CloseIdleConnections()
}

// settle is how long changes are gathered before they are published: a rollout
// or a move of endpoints between slices comes as several events.
const settle = 5 * time.Millisecond

// publish turns what the readers find into calls of r until ctx ends.
func (s *Source) publish(ctx context.Context, target discovery.Target, state *state, r discovery.Receiver) {
	var (
		published int    // the version of the last Snapshot
		failing   bool   // the last call was of r.Error
		warned    string // the last warning about refused addresses
	)
	for {
		select {
		case <-state.changed:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return
		}
		view := state.view()
		if view.complete && (view.version != published || failing && view.err == nil) {
			snapshot, refused := merge(target, view.facts, s.config.AllowLocalAddresses)
			if refused != nil && refused.Error() != warned {
				warned = refused.Error()
				slog.Warn("sidestep: endpoints refused", "target", target.String(), "error", refused)
			}
			r.Update(snapshot)
			published, failing = view.version, false
		}
		if view.err != nil {
			r.Error(view.err)
			failing = true
		}
	}
}
