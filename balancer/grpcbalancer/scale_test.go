package grpcbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/resolver"
)

const scaling = `{"policy":%q,"maxConnections":3,"streamsPerConnection":10}`

// begin picks n times and returns what ends the requests.
func (c *channel) begin(t *testing.T, n int) (ends []func(), of map[*subConn]int) {
	t.Helper()
	of = make(map[*subConn]int)
	for range n {
		_, s := c.heard()
		result, err := s.Picker.Pick(gbalancer.PickInfo{})
		if err != nil {
			t.Fatalf("pick: %v", err)
		}
		of[result.SubConn.(*subConn)]++
		ends = append(ends, func() { result.Done(gbalancer.DoneInfo{BytesSent: true, BytesReceived: true}) })
	}
	return ends, of
}

// mustWait picks and wants to be told to wait.
func (c *channel) mustWait(t *testing.T) {
	t.Helper()
	_, s := c.heard()
	if _, err := s.Picker.Pick(gbalancer.PickInfo{}); !errors.Is(err, gbalancer.ErrNoSubConnAvailable) {
		t.Fatalf("a pick that should wait: %v", err)
	}
}

func TestABackendGetsFurtherConnectionsWhenItsStreamsRunOut(t *testing.T) {
	for _, policy := range []string{"round_robin", "adaptive"} {
		synctest.Test(t, func(t *testing.T) {
			b, cc := buildFor(t, fmt.Sprintf(scaling, policy), []string{v4})
			defer b.Close()
			cc.made()[0].becomes(connectivity.Ready, nil)
			pass(time.Second)
			ends, _ := cc.begin(t, 1)
			ends[0]() // it has proved itself

			ends, _ = cc.begin(t, 10)
			synctest.Wait()
			if n := len(cc.made()); n != 1 {
				t.Fatalf("%s: %d connections for 10 requests of 10", policy, n)
			}
			cc.mustWait(t) // for the next connection
			synctest.Wait()
			if n := len(cc.made()); n != 2 {
				t.Fatalf("%s: %d connections for 11 requests", policy, n)
			}
			cc.made()[1].becomes(connectivity.Ready, nil)
			pass(time.Second)
			more, of := cc.begin(t, 9)
			ends = append(ends, more...)
			if of[cc.made()[1]] != 9 {
				t.Errorf("%s: the new connection got %d of 9 requests", policy, of[cc.made()[1]])
			}
			more, _ = cc.begin(t, 1)
			ends = append(ends, more...)
			cc.mustWait(t)
			synctest.Wait()
			told, _ := cc.heard()
			cc.made()[2].becomes(connectivity.Ready, nil)
			if now, _ := cc.heard(); now == told {
				t.Errorf("%s: who waited for the connection hears nothing of it", policy)
			}
			more, _ = cc.begin(t, 30)
			ends = append(ends, more...)
			pass(time.Second)
			if n := len(cc.made()); n != 3 {
				t.Errorf("%s: %d connections, want 3 at most", policy, n)
			}
			for _, end := range ends {
				end()
			}
			pass(3 * time.Minute)
			if one, two, three := cc.made()[0].shutdown.Load(), cc.made()[1].shutdown.Load(), cc.made()[2].shutdown.Load(); one != 0 || two != 1 || three != 1 {
				t.Errorf("%s: when they were not needed any more, they were shut down %d, %d and %d times", policy, one, two, three)
			}
			if got := cc.picks(t); got != v4 {
				t.Errorf("picked %s", got)
			}
		})
	}
}

func TestAFurtherConnectionThatIsLostIsNoLossOfTheBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cc := buildFor(t, fmt.Sprintf(scaling, "round_robin"), []string{v4})
		defer b.Close()
		first := cc.made()[0]
		first.becomes(connectivity.Ready, nil)
		pass(time.Second)
		ends, _ := cc.begin(t, 10)
		cc.mustWait(t)
		synctest.Wait()
		second := cc.made()[1]
		told, _ := cc.heard()
		second.becomes(connectivity.Connecting, nil)
		second.becomes(connectivity.TransientFailure, errRefused)
		if now, s := cc.heard(); now == told || s.ConnectivityState != connectivity.Ready {
			t.Errorf("who waited for the connection hears nothing of its failure; state %v", s.ConnectivityState)
		}
		more, _ := cc.begin(t, 5)
		synctest.Wait()
		if n := len(cc.made()); n != 2 {
			t.Errorf("another one is made at once after one failed")
		}
		pass(6 * time.Second)
		cc.mustWait(t)
		synctest.Wait()
		if n := len(cc.made()); n != 3 {
			t.Fatalf("%d connections were made, want another one after a while", n)
		}
		third := cc.made()[2]
		third.becomes(connectivity.Ready, nil)
		pass(time.Second)
		told, _ = cc.heard()
		third.becomes(connectivity.Idle, nil)
		if now, s := cc.heard(); now == told || s.ConnectivityState != connectivity.Ready {
			t.Error("requests that were to use it hear of no new picker")
		}
		// And when it is the first that is lost, the backend lives on the other.
		cc.mustWait(t)
		synctest.Wait()
		fourth := cc.made()[3]
		fourth.becomes(connectivity.Ready, nil)
		first.becomes(connectivity.Idle, nil)
		pass(time.Second)
		if cc.state() != connectivity.Ready || first.connects.Load() != 2 {
			t.Errorf("in state %v, the first connected %d times", cc.state(), first.connects.Load())
		}
		for _, end := range append(ends, more...) {
			end()
		}
	})
}

// grpc-go #9132, gRFC A105: with real servers that allow ten streams.
func TestMoreStreamsThanAConnectionTakesAreServedByFurtherOnes(t *testing.T) {
	for _, c := range []struct{ connections, streams int }{{1, 10}, {4, 40}} {
		a := startPodAt(t, "a", "127.0.0.1:0", []grpc.ServerOption{grpc.MaxConcurrentStreams(10)})
		config := grpcbalancer.Config{MaxConnections: c.connections, StreamsPerConnection: 10}
		conn := newClient(t, quiz, append(config.DialOptions(),
			grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource(endpoints(a)...)})),
			grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		mustAsk(t, conn, 1)
		ctx, cancel := context.WithCancel(t.Context())
		for range c.streams {
			stream, err := conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
			if err != nil {
				t.Fatal(err)
			}
			talkTo(t, stream)
		}
		if n := a.accepted.Load(); n != int32(c.connections) {
			t.Errorf("%d streams on %d connections, want %d", c.streams, n, c.connections)
		}
		_, err := ask(conn, 100*time.Millisecond)
		check(t, err, codes.DeadlineExceeded) // all are full
		cancel()
	}
}

// One that shares a connection with as many as it takes would wait there for
// another to end, though the next connection is on its way.
func TestRequestsThatBeginAtOnceFillAConnectionAndNoMore(t *testing.T) {
	b, cc := buildFor(t, fmt.Sprintf(scaling, "random"), []string{v4})
	defer b.Close()
	cc.made()[0].becomes(connectivity.Ready, nil)
	eventually(t, "there is a connection", func() bool { _, s := cc.heard(); return s.ConnectivityState == connectivity.Ready })
	for round := range 300 {
		var mu sync.Mutex
		var begun []func(gbalancer.DoneInfo)
		var all sync.WaitGroup
		_, s := cc.heard()
		for range 8 {
			all.Go(func() {
				for {
					result, err := s.Picker.Pick(gbalancer.PickInfo{})
					if err != nil {
						return
					}
					mu.Lock()
					begun = append(begun, result.Done)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(begun) != 10 {
			t.Fatalf("round %d: %d requests on a connection for 10", round, len(begun))
		}
		for _, end := range begun {
			end(gbalancer.DoneInfo{BytesSent: true, BytesReceived: true})
		}
	}
}
