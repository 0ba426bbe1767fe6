package outages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

// inBoth runs a test for HTTP and for gRPC.
func inBoth(t *testing.T, test func(t *testing.T, c *cluster, protocol string)) {
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			test(t, newCluster(t, protocol), protocol)
		})
	}
}

var refusals = map[string]func(*kubetest.Server){
	"connections refused": (*kubetest.Server).Outage,
	"401":                 func(s *kubetest.Server) { s.RequireToken("another"); s.DropWatches() },
	"403":                 func(s *kubetest.Server) { s.Forbid(kubetest.Any, kubetest.Any); s.DropWatches() },
	"500":                 func(s *kubetest.Server) { s.Fail(http.StatusInternalServerError, -1, 0); s.DropWatches() },
	"503, Retry-After":    func(s *kubetest.Server) { s.Fail(http.StatusServiceUnavailable, -1, time.Second); s.DropWatches() },
}

// The API server says no, or nobody is there to say anything: DNS is asked at once.
func TestDNSServesAtOnceWhereTheAPIServerRefuses(t *testing.T) {
	t.Parallel()
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBoth(t, func(t *testing.T, c *cluster, protocol string) {
				refuse(c.api)
				c.name("quiz", fresh)
				start := time.Now()
				c.must(protocol, "quiz", fresh)
				if took := time.Since(start); took > time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// A firewall drops what goes to the API server.
func TestASilentAPIServerCostsOneSecondOnce(t *testing.T) {
	t.Parallel()
	inBoth(t, func(t *testing.T, c *cluster, protocol string) {
		c.api.Stall()
		defer c.api.Resume()
		for i := range 5 {
			service := fmt.Sprintf("s%d", i)
			c.name(service, fresh)
			start := time.Now()
			c.must(protocol, service, fresh)
			if took := time.Since(start); took > 1500*time.Millisecond || i > 0 && took > 900*time.Millisecond {
				t.Errorf("the first request to Service %d took %v", i, took)
			}
		}
		for i := range 5 { // and when it answers, it alone counts
			c.serve(fmt.Sprintf("s%d", i), old)
		}
		c.api.Resume()
		c.until(protocol, "s3", old)
	})
}

// muteOrFailing are the ways in which nobody can be asked.
var muteOrFailing = map[string]func(*cluster){
	"refused, SERVFAIL": func(c *cluster) { c.api.Outage(); c.dns.Break(dnstest.Fail(miekg.RcodeServerFailure)) },
	"mute, mute":        func(c *cluster) { c.api.Stall(); c.dns.Break(dnstest.Mute) },
	"401, NXDOMAIN":     func(c *cluster) { c.api.RequireToken("another") },
}

func TestWithoutADeadlineARequestFailsWhenNobodyCanBeAsked(t *testing.T) {
	t.Parallel()
	for name, lose := range muteOrFailing {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBoth(t, func(t *testing.T, c *cluster, protocol string) {
				lose(c)
				defer c.api.Resume()
				for try := range 2 {
					done := make(chan error, 1)
					start := time.Now()
					go func() {
						_, err := c.ask(context.Background(), protocol, "quiz")
						done <- err
					}()
					select {
					case err := <-done:
						took := time.Since(start)
						if err == nil || !strings.Contains(err.Error(), "quiz") || errors.Is(err, context.DeadlineExceeded) && name != "mute, mute" {
							t.Errorf("error %v", err)
						}
						if protocol == "grpc" && status.Code(err) != codes.Unavailable {
							t.Errorf("status %v", status.Code(err))
						}
						if try == 0 && took < 4*time.Second || took > 15*time.Second {
							t.Errorf("request %d failed after %v: %v", try, took, err)
						}
						if try == 1 && took > time.Second {
							t.Errorf("the second request waits %v, though it is known by then", took)
						}
					case <-time.After(soon):
						t.Fatal("it waits forever")
					}
				}
			})
		})
	}
}

func TestWithADeadlineARequestMayWaitForWhatComes(t *testing.T) {
	t.Parallel()
	inBoth(t, func(t *testing.T, c *cluster, protocol string) {
		c.api.Outage()
		c.dns.Break(dnstest.Fail(miekg.RcodeServerFailure))
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		time.AfterFunc(7*time.Second, func() {
			c.name("quiz", fresh)
			c.dns.Heal()
		})
		// In gRPC, it is WaitForReady that waits.
		if from, err := c.ask(ctx, protocol, "quiz", grpc.WaitForReady(true)); err != nil || from != fresh {
			t.Errorf("answered by %q: %v", from, err)
		}
	})
}

func TestADeadlineThatPassesSaysWhatWasWaitedFor(t *testing.T) {
	t.Parallel()
	inBoth(t, func(t *testing.T, c *cluster, protocol string) {
		c.api.Outage()
		c.dns.Break(dnstest.Fail(miekg.RcodeServerFailure))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.ask(ctx, protocol, "quiz")
		if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "quiz") {
			t.Errorf("error %v", err)
		}
	})
}

func TestTheLastEndpointsServeThroughAnOutage(t *testing.T) {
	t.Parallel()
	inBoth(t, func(t *testing.T, c *cluster, protocol string) {
		c.serve("quiz", old)
		c.name("quiz", fresh)
		c.must(protocol, "quiz", old)
		c.api.Outage()
		asked := c.dns.Queries("quiz.kiada.svc.cluster.local", miekg.TypeA)
		for range 20 {
			c.must(protocol, "quiz", old)
		}
		if n := c.dns.Queries("quiz.kiada.svc.cluster.local", miekg.TypeA); n != asked {
			t.Errorf("DNS is asked %d times, though the last endpoints work", n-asked)
		}
	})
}

func TestDNSStandsInWhenTheAPIServerIsLostAndThePodsAreReplaced(t *testing.T) {
	t.Parallel()
	for name, lose := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBoth(t, func(t *testing.T, c *cluster, protocol string) {
				c.serve("quiz", old)
				c.name("quiz", old)
				c.must(protocol, "quiz", old)
				lose(c.api)
				c.name("quiz", fresh)
				c.pods[old].stop()
				t.Logf("served by DNS after %v", c.until(protocol, "quiz", fresh))
				for range 20 {
					c.must(protocol, "quiz", fresh)
				}
				// And back, by itself.
				c.name("quiz", "127.0.7.9")
				c.serve("quiz", fresh)
				if name == "connections refused" {
					if err := c.api.Restore(); err != nil {
						t.Fatal(err)
					}
				}
				c.api.RequireToken("")
				c.api.Allow(kubetest.Any, kubetest.Any)
				c.api.Fail(0, 0, 0)
				c.notDegraded(protocol, "quiz")
				if took := c.until(protocol, "quiz", fresh); took > 2*time.Second { // its connection comes after the news
					t.Errorf("then served by the new pod after %v", took)
				}
				for range 20 {
					c.must(protocol, "quiz", fresh)
				}
			})
		})
	}
}

// notDegraded waits until the API server is what tells the endpoints.
func (c *cluster) notDegraded(protocol, service string) {
	c.t.Helper()
	for end := time.Now().Add(soon); time.Now().Before(end); {
		for _, s := range discovery.Statuses() {
			if s.Target.Service == service && s.Target.Port.Number == c.port && s.Snapshot != nil && s.Snapshot.Degraded == nil && s.Err == nil {
				return
			}
		}
		time.Sleep(10 * time.Millisecond) //nolint:forbidigo // the pause of a polling loop
	}
	c.t.Fatalf("%s: still degraded", protocol)
}

func TestWhereNothingHelpsTheConnectionsErrorIsTold(t *testing.T) {
	t.Parallel()
	inBoth(t, func(t *testing.T, c *cluster, protocol string) {
		c.serve("quiz", old)
		c.must(protocol, "quiz", old)
		c.api.Outage()
		c.dns.Break(dnstest.Mute)
		c.pods[old].stop()
		for range 5 {
			done := make(chan error, 1)
			go func() {
				_, err := c.ask(context.Background(), protocol, "quiz")
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil || protocol == "grpc" && status.Code(err) != codes.Unavailable {
					t.Errorf("error %v", err)
				}
			case <-time.After(soon):
				t.Fatal("it waits forever")
			}
		}
	})
}

func TestAServiceScaledFromZeroIsFoundThoughTheAPIServerIsLost(t *testing.T) {
	t.Parallel()
	inBoth(t, func(t *testing.T, c *cluster, protocol string) {
		ports := kubetest.Ports{"main": int32(c.port)}
		c.api.SetService(kubetest.HeadlessService("kiada", "quiz", ports))
		c.api.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-1", nil))
		_, err := c.ask(t.Context(), protocol, "quiz")
		if err == nil || !strings.Contains(err.Error(), "no pods") {
			t.Fatal(err)
		}
		c.api.Outage()
		c.dns.SetA("quiz.kiada.svc.cluster.local", time.Second, netip.MustParseAddr(fresh))
		c.until(protocol, "quiz", fresh)
	})
}
