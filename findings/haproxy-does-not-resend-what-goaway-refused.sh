#!/usr/bin/env bash
# What one would say: GOAWAY names the last stream that the server has processed, so a proxy that speaks HTTP/2 with its servers
# knows that the later ones were not, and sends them again (RFC 9113, section 6.8): HAProxy has "retries 3" by default. If it
# did give up, its client would get a 502 or 503.
#
# What happens: HAProxy 2.6 with "proto h2" on the server's side does not send such a request again, and answers it with nothing
# at all: it closes the client's connection. At each reload of the nginx behind it, all POSTs that were on their way to nginx
# fail with EOF in Go's client, which may not repeat them (a GET it does, so GETs hide it). The same client straight to nginx
# loses none, since net/http sends what GOAWAY has refused again if the body can be made again. With "retry-on conn-failure
# empty-response" HAProxy loses none either, but that repeats requests which a server has processed and not answered as well.
#
# Seen with: Debian 12 haproxy 2.6.12 before nginx 1.22.1 (h2c), 10 ms away each way, 12 reloads, Go 1.26.8 as the client.
# Output when written:
#
#   by HAProxy:                  200 1515, EOF 107, of which nginx has processed 1515
#   by HAProxy with retry-on:    200 1384, of which nginx has processed 1384
#   straight to nginx by HTTP/2: 200 1696, of which nginx has processed 1696
#
# Needs Go, nginx and HAProxy (apt-get install nginx haproxy). Nothing but 127.0.0.1 is used.
set -euo pipefail

PATH=$PATH:/usr/sbin
for p in nginx haproxy; do
  command -v "$p" >/dev/null || { echo "$p is not installed: apt-get install $p"; exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
haproxy -v | sed -n 1p
nginx -v 2>&1
go version

cat >go.mod <<'GO'
module finding
go 1.26
GO
cat >main.go <<'GO'
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const away = 10 * time.Millisecond // each way

// proxy stands for the distance to target.
func proxy(target string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", target)
			if err != nil {
				c.Close()
				continue
			}
			go carry(s.(*net.TCPConn), c.(*net.TCPConn))
			go carry(c.(*net.TCPConn), s.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

type parcel struct {
	due  time.Time
	data []byte
	err  error
}

func carry(to, from *net.TCPConn) {
	way := make(chan parcel, 4096)
	go func() {
		defer close(way)
		for {
			b := make([]byte, 16<<10)
			n, err := from.Read(b)
			if n > 0 {
				way <- parcel{time.Now().Add(away), b[:n], nil}
			}
			if err != nil {
				way <- parcel{time.Now().Add(away), nil, err}
				return
			}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.due))
		switch {
		case p.err == io.EOF:
			to.CloseWrite()
		case p.err != nil:
			to.SetLinger(0)
			to.Close()
		default:
			to.Write(p.data)
		}
	}
}

func freeAddr() string {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	defer l.Close()
	return l.Addr().String()
}

// start starts a server, and returns when it listens.
func start(addr, program string, args ...string) *os.Process {
	cmd := exec.Command(program, args...)
	cmd.Stderr = io.Discard
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	for range 1000 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return cmd.Process
		}
		time.Sleep(10 * time.Millisecond)
	}
	panic(program + " does not listen")
}

// post sends POSTs to addr while nginx is reloaded, and says what became of them.
func post(addr string, http2 bool, nginx *os.Process) string {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	transport := &http.Transport{Protocols: &protocols, MaxIdleConnsPerHost: 100}
	client := http.Client{Transport: transport}
	defer transport.CloseIdleConnections()
	var mu sync.Mutex
	counts := map[string]int{}
	var working sync.WaitGroup
	stop := make(chan struct{})
	for range 10 {
		working.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var what string
				resp, err := client.Post("http://"+addr+"/", "text/plain", strings.NewReader("hello"))
				if err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					what = resp.Status
				} else {
					what = err.(*url.Error).Err.Error()
				}
				mu.Lock()
				counts[strings.TrimSpace(strings.TrimSuffix(what, "OK"))]++
				mu.Unlock()
			}
		})
	}
	for range 12 {
		time.Sleep(350 * time.Millisecond)
		nginx.Signal(syscall.SIGHUP)
	}
	time.Sleep(350 * time.Millisecond)
	close(stop)
	working.Wait()
	time.Sleep(100 * time.Millisecond)
	log, _ := os.ReadFile("access.log")
	os.Truncate("access.log", 0)
	said := []string{fmt.Sprint("of which nginx has processed ", bytes.Count(log, []byte("\n")))}
	for what, n := range counts {
		said = append(said, fmt.Sprintf("%s %d", what, n))
	}
	slices.Sort(said)
	return strings.Join(said, ", ")
}

func main() {
	dir, _ := os.Getwd()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			panic(err)
		}
		return path
	}
	nginxAddr := freeAddr()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	nginx := start(nginxAddr, "nginx", "-e", "stderr", "-p", dir, "-c", write("nginx.conf", fmt.Sprintf(`
%s daemon off; pid %[2]s/nginx.pid; worker_processes 1;
events {}
http {
	access_log %[2]s/access.log;
	client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
	server { listen %[3]s http2; location / { return 200 "hello"; } }
}`, user, dir, nginxAddr)))
	defer nginx.Signal(syscall.SIGTERM)
	distant := proxy(nginxAddr)

	haproxy := func(name, more string) string {
		addr := freeAddr()
		p := start(addr, "haproxy", "-db", "-f", write(name+".cfg", fmt.Sprintf(`
defaults
	mode http
	timeout connect 5s
	timeout client 50s
	timeout server 50s
frontend in
	bind %s
	default_backend out
backend out
	%s
	server nginx %s proto h2
`, addr, more, distant)))
		defer p.Signal(syscall.SIGTERM)
		return post(addr, false, nginx)
	}
	fmt.Println("by HAProxy:                 ", haproxy("default", ""))
	fmt.Println("by HAProxy with retry-on:   ", haproxy("retry", "retry-on conn-failure empty-response"))
	fmt.Println("straight to nginx by HTTP/2:", post(distant, true, nginx))
}
GO
go run . | tee out
# What nginx has processed is what was answered: the rest it has not seen.
sed -E 's/: +200 ([0-9]+)(, EOF [0-9]+)?, of which nginx has processed \1$/:\2/; s/EOF [0-9]+/EOF/' out >got
cat >want <<'WANT'
by HAProxy:, EOF
by HAProxy with retry-on:
straight to nginx by HTTP/2:
WANT
diff want got || { echo "it has changed"; exit 1; }
echo "as written down"
