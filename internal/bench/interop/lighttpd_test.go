//go:build linux

package interop

import (
	"fmt"
	"syscall"
	"testing"
)

func newLighttpd(t *testing.T, origin string) *pod {
	lighttpd := installed(t, "lighttpd", "lighttpd")
	dir, addr := t.TempDir(), freeAddr(t)
	host, port := splitAddr(t, addr)
	originHost, originPort := splitAddr(t, origin)
	config := write(t, dir, "lighttpd.conf", fmt.Sprintf(`
server.modules = ("mod_proxy")
server.document-root = "%[1]s"
server.errorlog = "/dev/stderr"
server.upload-dirs = ("%[1]s")
server.bind = "%[2]s"
server.port = %[3]s
server.feature-flags = ("server.h2proto" => "enable", "server.h2c" => "enable")
proxy.server = ("" => (("host" => "%[4]s", "port" => %[5]s)))
`, dir, host, port, originHost, originPort))
	p := start(t, dir, lighttpd, "-D", "-f", config)
	p.listening(addr)
	return &pod{addr: addr, disturb: func(_, _ func()) { p.signal(syscall.SIGUSR1) }}
}

func lighttpdPods(t *testing.T) []*pod {
	origin := newOrigin(t)
	return []*pod{newLighttpd(t, origin), newLighttpd(t, origin)}
}

// At a graceful restart it closes its idle connections, finishes what it has, and
// serves again.
func TestLighttpdGracefulHTTP1(t *testing.T) {
	h := httpTest{pods: lighttpdPods(t), postsMayFail: true}
	h.run(t)
}

// At a graceful restart it sends GOAWAY with the last stream that it has seen. When
// the body of a later one arrives, it resets those that it has promised to answer.
func TestLighttpdGracefulHTTP2(t *testing.T) {
	h := httpTest{pods: lighttpdPods(t), h2c: true, postsMayFail: true}
	h.run(t)
}
