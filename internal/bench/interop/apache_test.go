//go:build linux

package interop

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

const apacheModules = "/usr/lib/apache2/modules"

// newApache starts Apache with Debian's settings, but for more threads: Apache
// closes idle connections early when all are busy.
func newApache(t *testing.T, protocols, keepAliveTimeout, origin string) *pod {
	apache := installed(t, "apache2", "apache2")
	if _, err := os.Stat(apacheModules); err != nil {
		t.Skip("apache2 has no modules at " + apacheModules)
	}
	dir, addr := t.TempDir(), freeAddr(t)
	user := ""
	if syscall.Geteuid() == 0 { // it refuses to serve as root
		user = "User nobody\nGroup nogroup"
	}
	var modules strings.Builder
	for _, m := range []string{"mpm_event", "authz_core", "proxy", "proxy_http", "http2"} {
		fmt.Fprintf(&modules, "LoadModule %s_module %s/mod_%[1]s.so\n", m, apacheModules)
	}
	config := write(t, dir, "apache2.conf", fmt.Sprintf(`
ServerRoot %[1]s
DefaultRuntimeDir %[1]s
PidFile %[1]s/apache2.pid
%[2]s
%[3]s
ServerName quiz.kiada
Listen %[4]s
ErrorLog /dev/stderr
StartServers 4
MinSpareThreads 25
MaxSpareThreads 100
ThreadLimit 64
ThreadsPerChild 25
MaxRequestWorkers 150
KeepAlive On
MaxKeepAliveRequests 100
KeepAliveTimeout %[5]s
Protocols %[6]s
<Location />
	Require all granted
</Location>
ProxyPass / http://%[7]s/
`, dir, modules.String(), user, addr, keepAliveTimeout, protocols, origin))
	p := start(t, dir, apache, "-DFOREGROUND", "-f", config)
	p.listening(addr)
	return &pod{addr: addr, disturb: func(_, _ func()) { p.signal(syscall.SIGUSR1) }}
}

func apachePods(t *testing.T, protocols string) []*pod {
	origin := newOrigin(t)
	return []*pod{newApache(t, protocols, "5", origin), newApache(t, protocols, "5", origin)}
}

// A process that is told to end closes its idle connections.
func TestApacheGracefulHTTP1(t *testing.T) {
	h := httpTest{pods: apachePods(t, "http/1.1"), postsMayFail: true}
	h.run(t)
}

// A process that is told to end sends GOAWAY and may then break off what it has
// promised to answer.
func TestApacheGracefulHTTP2(t *testing.T) {
	h := httpTest{pods: apachePods(t, "h2c"), h2c: true, postsMayFail: true}
	h.run(t)
}

// Apache closes a connection that has been idle for KeepAliveTimeout, and says so
// in each answer to a request with "Connection: keep-alive": "Keep-Alive: timeout=2,
// max=100".
func TestApacheKeepAliveTimeout(t *testing.T) {
	origin := newOrigin(t)
	aimAtIdleTimeout(t, []*pod{newApache(t, "http/1.1", "2", origin), newApache(t, "http/1.1", "2", origin)}, 2*time.Second)
}
