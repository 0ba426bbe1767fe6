package kube

import (
	"context"
	"sync"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// services holds what is being read of Services, once for each however many of
// its ports are targets.
type services struct {
	mu      sync.Mutex
	reading map[serviceKey]*service // guarded by mu
}

type serviceKey struct{ namespace, name string }

// A service is one Service that is being read.
type service struct {
	// Set at the start and read-only.
	key   serviceKey
	state *state
	stop  func() // ends the readers and waits for them

	users int // guarded by the mu of services
}

// join starts reading a Service unless that is going on already. The caller has
// to leave it.
func (s *services) join(client *kubeapi.Client, timing kubeapi.Timing, key serviceKey) *service {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading == nil {
		s.reading = make(map[serviceKey]*service)
	}
	one := s.reading[key]
	if one == nil {
		one = read(client, timing, key)
		s.reading[key] = one
	}
	one.users++
	return one
}

func (s *services) leave(one *service) {
	s.mu.Lock()
	one.users--
	last := one.users == 0
	if last {
		delete(s.reading, one.key)
	}
	s.mu.Unlock()
	if last {
		one.stop()
	}
}

func read(client *kubeapi.Client, timing kubeapi.Timing, key serviceKey) *service {
	ctx, cancel := context.WithCancel(context.Background())
	state := newState(key.name)
	var readers sync.WaitGroup
	readers.Go(func() {
		lw := kubeapi.ListWatch[kubeapi.EndpointSlice]{
			Client:        client,
			Path:          kubeapi.EndpointSlicesPath(key.namespace),
			LabelSelector: kubeapi.LabelServiceName + "=" + key.name,
			Timing:        timing,
		}
		lw.Run(ctx, sliceHandler{state})
	})
	readers.Go(func() {
		lw := kubeapi.ListWatch[kubeapi.Service]{
			Client:        client,
			Path:          kubeapi.ServicesPath(key.namespace),
			FieldSelector: "metadata.name=" + key.name,
			Timing:        timing,
		}
		lw.Run(ctx, serviceHandler{state})
	})
	return &service{key: key, state: state, stop: func() {
		cancel()
		readers.Wait()
		client.CloseIdleConnections()
	}}
}
