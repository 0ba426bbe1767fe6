package kube

import (
	"context"
	"sync"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// services holds what is being read of Services, once for each however many of
// its ports are targets.
type services struct {
	api API // read-only

	mu         sync.Mutex
	namespaces map[string]*namespace // guarded by mu
}

type serviceKey struct{ namespace, name string }

// A service is one Service that is being read.
type service struct {
	// Set at the start and read-only.
	namespace *namespace
	state     *state
	ctx       context.Context // ends when it has no users
	cancel    context.CancelFunc

	feeds sync.WaitGroup // those for this Service alone

	users int // guarded by the mu of services
}

// join starts reading a Service unless that is going on already. The caller has
// to leave it.
func (s *services) join(client *kubeapi.Client, timing kubeapi.Timing, key serviceKey) *service {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.namespaces == nil {
		s.namespaces = make(map[string]*namespace)
	}
	ns := s.namespaces[key.namespace]
	if ns == nil {
		ns = newNamespace(s, client, timing, key.namespace)
		s.namespaces[key.namespace] = ns
	}
	one := ns.services[key.name]
	if one == nil {
		one = &service{namespace: ns, state: newState(key.name)}
		one.state.readStates[endpointSlices].mirrored = s.api == Endpoints
		one.ctx, one.cancel = context.WithCancel(ns.ctx)
		ns.services[key.name] = one
		for k := range kinds {
			if key != theCluster || k == endpointSlices {
				ns.read(one, k)
			}
		}
	}
	one.users++
	return one
}

func (s *services) leave(one *service) {
	ns := one.namespace
	if !s.remove(one) {
		return
	}
	one.cancel()
	one.feeds.Wait()
	if ns.ctx.Err() != nil {
		ns.feeds.Wait()
	}
	ns.client.CloseIdleConnections()
}

// remove reports whether it has removed the Service, for want of users.
func (s *services) remove(one *service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ns := one.namespace
	if one.users--; one.users > 0 {
		return false
	}
	delete(ns.services, one.state.name)
	if len(ns.services) == 0 {
		delete(s.namespaces, ns.name)
		ns.cancel()
	}
	return true
}
