//go:build linux

package interop

import (
	"fmt"
	"syscall"
	"testing"
)

// newHAProxy starts HAProxy as a master with workers, with the time-outs of
// Debian's configuration.
func newHAProxy(t *testing.T, bind, origin string) *pod {
	haproxy := installed(t, "haproxy", "haproxy")
	dir, addr := t.TempDir(), freeAddr(t)
	config := write(t, dir, "haproxy.cfg", fmt.Sprintf(`
global
	hard-stop-after 20s
defaults
	mode http
	timeout connect 5s
	timeout client 50s
	timeout server 50s
frontend pod
	bind %s %s
	default_backend origin
backend origin
	server origin %s
`, addr, bind, origin))
	p := start(t, dir, haproxy, "-W", "-db", "-f", config)
	p.listening(addr)
	return &pod{addr: addr, disturb: func(_, _ func()) { p.signal(syscall.SIGUSR2) }}
}

func haproxyPods(t *testing.T, bind string) []*pod {
	origin := newOrigin(t)
	return []*pod{newHAProxy(t, bind, origin), newHAProxy(t, bind, origin)}
}

// A worker that is told to end closes its idle connections.
func TestHAProxyReloadHTTP1(t *testing.T) {
	h := httpTest{pods: haproxyPods(t, ""), postsMayFail: true}
	h.run(t)
}

// A worker that is told to end sends GOAWAY that promises to answer all that is
// on its way, and then leaves it to the client to close the connection.
func TestHAProxyReloadHTTP2(t *testing.T) {
	h := httpTest{pods: haproxyPods(t, "proto h2"), h2c: true}
	h.run(t)
}
