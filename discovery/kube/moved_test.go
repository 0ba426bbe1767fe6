package kube_test

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// serviceAddress returns an address of its own that leads to a server, as the
// cluster IP of the Service kubernetes does, and a function that changes the server.
// It is for new connections.
func serviceAddress(t *testing.T, server *kubetest.Server) (address string, leadTo func(*kubetest.Server)) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var to atomic.Pointer[kubetest.Server]
	to.Store(server)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer client.Close()
				server, err := net.Dial("tcp", strings.TrimPrefix(to.Load().URL(), "https://"))
				if err != nil {
					return
				}
				running.Go(func() {
					defer client.Close()
					_, _ = io.Copy(client, server)
				})
				defer server.Close()
				_, _ = io.Copy(server, client)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		running.Wait()
	})
	return listener.Addr().String(), to.Store
}

// The address in a pod's environment never changes, but what is behind it may: a
// control plane is replaced, with new certificates and, before or after, a new token.
func TestAnotherControlPlaneBehindTheSameAddressIsReadWithItsOwnCredentials(t *testing.T) {
	for name, filesFirst := range map[string]bool{"files before the move": true, "files after the move": false} {
		t.Run(name, func(t *testing.T) {
			first, second := kubetest.StartTLS(), kubetest.StartTLS()
			defer first.Close()
			defer second.Close()
			for i, server := range []*kubetest.Server{first, second} {
				server.RequireToken([]string{"first", "second"}[i])
				server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80}))
				setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
			}
			setSlice(second, "quiz-a", kubetest.Ready("10.0.0.2", "quiz-1"))
			address, leadTo := serviceAddress(t, first)
			source, dir := inPod(t, first)
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("KUBERNETES_SERVICE_HOST", host)
			t.Setenv("KUBERNETES_SERVICE_PORT", port)
			sub := watch(t, source, "k8s:///quiz:grpc")
			awaitEndpoints(t, sub, "10.0.0.1:8080")
			waitWatches(t, first, 2)

			replace := func() {
				writeFile(t, filepath.Join(dir, "ca.crt"), string(second.CA()))
				writeFile(t, filepath.Join(dir, "token"), "second")
			}
			if filesFirst {
				replace()
			}
			leadTo(second)
			first.Outage()
			if !filesFirst {
				stale := await(t, sub, "an error", discovery.View.Stale)
				if got := text(stale.Snapshot); got != "10.0.0.1:8080" {
					t.Errorf("meanwhile: %s", got)
				}
				replace()
			}
			start := time.Now()
			awaitEndpoints(t, sub, "10.0.0.2:8080")
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
