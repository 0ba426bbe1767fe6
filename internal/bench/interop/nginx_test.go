//go:build linux

package interop

import (
	"fmt"
	"syscall"
	"testing"
)

// newNginx starts nginx as a proxy before origin. The settings are nginx's
// defaults where nothing else is said.
func newNginx(t *testing.T, listen, settings, location string) *pod {
	nginx := installed(t, "nginx", "nginx")
	dir, addr := t.TempDir(), freeAddr(t)
	user := ""
	if syscall.Geteuid() == 0 {
		user = "user root;" // its files are the test's
	}
	config := write(t, dir, "nginx.conf", fmt.Sprintf(`
%s
daemon off;
pid %[2]s/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {}
http {
	access_log off;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	%[5]s
	server {
		listen %[3]s %[4]s;
		location / { %[6]s }
	}
}
`, user, dir, addr, listen, settings, location))
	p := start(t, dir, nginx, "-e", "stderr", "-p", dir, "-c", config)
	p.listening(addr)
	return &pod{addr: addr, disturb: func(_, _ func()) { p.signal(syscall.SIGHUP) }}
}

// nginxProxy is the configuration of a proxy that keeps its connections.
func nginxProxy(origin string) (settings, location string) {
	return fmt.Sprintf("upstream origin { server %s; keepalive 32; }", origin),
		`proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";`
}

func nginxPods(t *testing.T, listen, more string) []*pod {
	settings, location := nginxProxy(newOrigin(t))
	return []*pod{newNginx(t, listen, settings+more, location), newNginx(t, listen, settings+more, location)}
}

// A worker that is told to end closes its idle connections.
func TestNginxReloadHTTP1(t *testing.T) {
	h := httpTest{pods: nginxPods(t, "", ""), postsMayFail: true}
	h.run(t)
}

// A worker that is told to end sends GOAWAY with the last stream that it has
// seen: what it has not seen can be sent again, whatever it is.
func TestNginxReloadHTTP2(t *testing.T) {
	h := httpTest{pods: nginxPods(t, "http2", ""), h2c: true}
	h.run(t)
}

// The last request of keepalive_requests on a connection comes with GOAWAY, or with
// "Connection: close" over HTTP/1. The default is 1000; with less the same happens
// more often. Nobody reloads anything.
func TestNginxKeepaliveRequests(t *testing.T) {
	for _, version := range []struct {
		name, listen string
	}{{"HTTP1", ""}, {"HTTP2", "http2"}} {
		t.Run(version.name, func(t *testing.T) {
			h := httpTest{pods: nginxPods(t, version.listen, "keepalive_requests 100;"), h2c: version.listen != "", workers: 3}
			for _, p := range h.pods {
				p.disturb = nil
			}
			h.run(t)
		})
	}
}
