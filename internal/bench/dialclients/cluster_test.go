//go:build linux

package dialclients

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

// A cluster has one Service, named store.shop, whose pods are servers on addresses of
// this machine, all with the same port.
type cluster struct {
	t    *testing.T
	api  *kubetest.Server
	port int

	mu    sync.Mutex
	ready []string // pods, by their addresses
}

const firstAddr = 77 // of 127.0.77.x, to be out of the way of others

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, api: kubetest.Start(), port: freePort(t)}
	t.Cleanup(c.api.Close)
	c.api.SetService(kubetest.ClusterIPService("shop", "store", kubetest.Ports{"main": 6379}))
	return c
}

// addr is that of the i-th pod.
func (c *cluster) addr(i int) string { return fmt.Sprintf("127.0.%d.%d", firstAddr, i+1) }

// publish says which pods are ready.
func (c *cluster) publish(pods ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var endpoints []kubetest.Endpoint
	for _, i := range pods {
		endpoints = append(endpoints, kubetest.Ready(c.addr(i), "store-"+strconv.Itoa(i)))
	}
	c.api.SetEndpointSlice(kubetest.Slice("shop", "store", "store-abc12", kubetest.Ports{"main": int32(c.port)}, endpoints...))
}

// dialer returns a Dialer for the Service, with a count of the connections it tries
// to make.
func (c *cluster) dialer(config dialbalancer.Config) (*dialbalancer.Dialer, *atomic.Int64) {
	c.t.Helper()
	var dials atomic.Int64
	plain := net.Dialer{Timeout: 2 * time.Second}
	config.Source = kube.New(kube.Config{Host: c.api.URL(), Client: c.api.Client(), AllowLocalAddresses: true})
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return plain.DialContext(ctx, network, address)
	}
	d, err := dialbalancer.New("k8s:///store.shop:main", config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { d.Close() })
	return d, &dials
}

// conns returns how many connections each pod has, as the Dialer counts them.
func conns(t *testing.T) map[string]int {
	t.Helper()
	counts := make(map[string]int)
	for _, s := range balancer.Statuses() {
		for _, b := range s.Backends {
			if s.Adapter == "dial" {
				counts[b.Pod] = int(b.InFlight)
			}
		}
	}
	return counts
}

// freePort returns a port that is free on all the addresses.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.77.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// installed returns the path of a program, or skips the test.
func installed(t *testing.T, program, debianPackage string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed (apt-get install %s)", program, debianPackage)
	return ""
}

// start runs a server and returns when it accepts connections. Its end is that of the
// test, or the call of stop.
func start(t *testing.T, addr string, program string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(3*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		late.Stop()
	})
	t.Cleanup(stop)
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, "%s does not listen at %s", program, addr)
	return stop
}

// eventually waits until something is true.
func eventually(t *testing.T, f func() bool, format string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf(format, args...)
		}
	}
}

// A load calls f from several goroutines until it is stopped.
type load struct {
	stop   context.CancelFunc
	wg     sync.WaitGroup
	done   atomic.Int64
	mu     sync.Mutex
	failed []error // guarded by mu
}

func startLoad(t *testing.T, workers int, f func(ctx context.Context) error) *load {
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop}
	for range workers {
		l.wg.Go(func() {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				if err := f(t.Context()); err != nil {
					l.mu.Lock()
					l.failed = append(l.failed, err)
					l.mu.Unlock()
				}
				l.done.Add(1)
				<-tick.C
			}
		})
	}
	return l
}

// during goes on with the load for a while.
func (l *load) during(d time.Duration) { <-time.After(d) }

// end ends the load and reports what has failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.wg.Wait()
	if n := len(l.failed); n > 0 {
		t.Errorf("%d of %d failed, the first with %v", n, l.done.Load(), l.failed[0])
	}
	if l.done.Load() < 50 {
		t.Errorf("there was next to no load: %d", l.done.Load())
	}
}
