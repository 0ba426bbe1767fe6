package kubeapi

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// What a ListWatch costs the API server, in requests.

// A counter is a Handler that signals when all slices have been replaced.
type counter struct{ replaced chan int }

func (c counter) Replace(slices []*EndpointSlice) { c.replaced <- len(slices) }
func (counter) Apply(string, *EndpointSlice)      {}
func (counter) Failed(error)                      {}
func (counter) Healthy()                          {}

// bill is the requests that came after the first so many, in order.
func bill(server *kubetest.Server, after int) string {
	var items []string
	for _, r := range server.Requests()[after:] {
		item := r.Verb
		if r.Query.Has("sendInitialEvents") {
			item = "streaming list"
		}
		items = append(items, item)
	}
	return strings.Join(items, ", ")
}

// reading runs a ListWatch of a Client's until the test ends and returns when
// it has read and watches everything.
func reading(t *testing.T, server *kubetest.Server, client *Client) counter {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	c := counter{replaced: make(chan int, 100)}
	watches := server.Watches()
	running.Go(func() {
		lw := ListWatch[*EndpointSlice]{
			Client: client,
			Path:   EndpointSlicesPath("kiada"),
			Timing: Timing{ShortWatch: time.Nanosecond, FirstBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond},
		}
		lw.Run(ctx, c)
	})
	c.await(t)
	wait(t, server, watches+1)
	return c
}

func (c counter) await(t *testing.T) {
	t.Helper()
	select {
	case n := <-c.replaced:
		if n != 2 {
			t.Errorf("%d slices, want 2", n)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no list came")
	}
}

func wait(t *testing.T, server *kubetest.Server, watches int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := server.WaitWatches(ctx, watches); err != nil {
		t.Fatal(err)
	}
}

func apiServer(t *testing.T) (*kubetest.Server, *Client) {
	t.Helper()
	server := kubetest.Start()
	t.Cleanup(server.Close)
	for _, name := range []string{"quiz-a", "quiz-b"} {
		server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", name, nil))
	}
	client, err := NewClient(Config{Host: server.URL(), HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

func TestAFreshStartCostsOneRequest(t *testing.T) {
	server, client := apiServer(t)
	reading(t, server, client)
	if got := bill(server, 0); got != "streaming list" {
		t.Errorf("requests: %s", got)
	}
}

func TestAgainstAnOldServerAFreshStartCostsAListAndAWatchAndOnceARefusal(t *testing.T) {
	server, client := apiServer(t)
	server.SetStreamingLists(false)
	reading(t, server, client)
	if got := bill(server, 0); got != "streaming list, list, watch" {
		t.Errorf("requests: %s", got)
	}
	reading(t, server, client)
	if got := bill(server, 3); got != "list, watch" {
		t.Errorf("requests of the next: %s", got)
	}
}

func TestHoweverAWatchEndsToGoOnCostsOneRequest(t *testing.T) {
	for name, end := range map[string]struct {
		by   func(*kubetest.Server)
		cost string
	}{
		"properly": {(*kubetest.Server).EndWatches, "watch"},
		"dropped":  {(*kubetest.Server).DropWatches, "watch"},
		"cut":      {(*kubetest.Server).CutMidEvent, "watch"},
		"expired":  {(*kubetest.Server).ExpireWatches, "streaming list"},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := apiServer(t)
			reading(t, server, client)
			end.by(server)
			wait(t, server, 1)
			if got := bill(server, 1); got != end.cost {
				t.Errorf("requests: %s", got)
			}
		})
	}
}

func TestAVersionForgottenMeanwhileCostsOneRequestMore(t *testing.T) {
	for name, compact := range map[string]func(*kubetest.Server){
		"status": (*kubetest.Server).CompactWithStatus,
		"event":  (*kubetest.Server).Compact,
	} {
		t.Run(name, func(t *testing.T) {
			server, client := apiServer(t)
			c := reading(t, server, client)
			server.Outage()
			server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-b", nil))
			compact(server)
			if err := server.Restore(); err != nil {
				t.Fatal(err)
			}
			c.await(t)
			wait(t, server, 1)
			if got := bill(server, 1); got != "watch, streaming list" {
				t.Errorf("requests: %s", got)
			}
		})
	}
}
