package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"sync"
	"testing"
	"time"
)

// An endpoint is one of a Service, as its slices show it.
type endpoint struct {
	pod                       string
	ready, serving, terminate bool
}

// usable reports whether kube-proxy could send something there, if need be.
func (e endpoint) usable() bool { return e.ready || e.serving && e.terminate }

// A change is the state of a Service after one of its slices changed.
type change struct {
	seen      time.Time
	service   string
	endpoints map[string]endpoint // by pod
}

// A sliceWatch notes when each change of an EndpointSlice was seen. It has
// nothing of the SDK's: kubectl watches.
type sliceWatch struct {
	mu      sync.Mutex
	changes []change // guarded by mu
}

// watchSlices watches until the test ends.
func watchSlices(t *testing.T, c *cluster) *sliceWatch {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := c.kubectlCommand(ctx, "-n", namespace, "get", "endpointslices", "--watch", "--output-watch-events", "-o", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := new(sliceWatch)
	var reading sync.WaitGroup
	reading.Go(func() { w.read(out) })
	t.Cleanup(func() {
		cancel()
		reading.Wait()
		_ = cmd.Wait() // it was killed
	})
	return w
}

func (w *sliceWatch) read(events io.Reader) {
	type slice struct {
		service   string
		endpoints []endpoint
	}
	slices := make(map[string]slice) // by name
	decoder := json.NewDecoder(events)
	for {
		var event struct {
			Type   string
			Object struct {
				Metadata struct {
					Name   string
					Labels map[string]string
				}
				Endpoints []struct {
					Conditions struct{ Ready, Serving, Terminating *bool }
					TargetRef  struct{ Name string }
				}
			}
		}
		if decoder.Decode(&event) != nil {
			return
		}
		seen := time.Now()
		service := event.Object.Metadata.Labels["kubernetes.io/service-name"]
		s := slice{service: service}
		for _, e := range event.Object.Endpoints {
			s.endpoints = append(s.endpoints, endpoint{
				pod:       e.TargetRef.Name,
				ready:     e.Conditions.Ready == nil || *e.Conditions.Ready,
				serving:   e.Conditions.Serving == nil || *e.Conditions.Serving,
				terminate: e.Conditions.Terminating != nil && *e.Conditions.Terminating,
			})
		}
		slices[event.Object.Metadata.Name] = s
		if event.Type == "DELETED" {
			delete(slices, event.Object.Metadata.Name)
		}
		union := make(map[string]endpoint)
		for s := range maps.Values(slices) {
			if s.service != service {
				continue
			}
			for _, e := range s.endpoints {
				union[e.pod] = e
			}
		}
		w.mu.Lock()
		w.changes = append(w.changes, change{seen, service, union})
		w.mu.Unlock()
	}
}

// when waits for a state of a Service and returns the first time, not before
// since, at which it was seen.
func (w *sliceWatch) when(t *testing.T, what, service string, since time.Time, state func(map[string]endpoint) bool) time.Time {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		w.mu.Lock()
		changes := w.changes
		w.mu.Unlock()
		for _, c := range changes {
			if c.service == service && !c.seen.Before(since) && state(c.endpoints) {
				return c.seen
			}
		}
	}
	t.Fatalf("Service %s: not seen in 90 s: %s", service, what)
	return time.Time{}
}

func noneUsable(endpoints map[string]endpoint) bool {
	for _, e := range endpoints {
		if e.usable() {
			return false
		}
	}
	return true
}

func podReady(pod string, want bool) func(map[string]endpoint) bool {
	return func(endpoints map[string]endpoint) bool { return endpoints[pod].ready == want }
}
