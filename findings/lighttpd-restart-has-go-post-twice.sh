#!/usr/bin/env bash
# What one would say: net/http never sends a POST twice that a server may have processed. It repeats one only if nothing of it
# was written, or if HTTP/2 says that it was not processed (GOAWAY, REFUSED_STREAM). And a server that restarts gracefully
# answers what its GOAWAY has promised to answer.
#
# What happens: at a graceful restart (SIGUSR1) lighttpd 1.4.69 sends GOAWAY with the last stream that it has seen. The headers
# of a later stream that was on its way it discards, as it should. But the DATA of that stream it takes for an error: it sends
# a second GOAWAY, PROTOCOL_ERROR, and resets with PROTOCOL_ERROR the streams that it has promised to answer, which it has
# passed on to the server behind. GETs have no DATA, and do not show it. Go's net/http takes a stream that is reset with
# PROTOCOL_ERROR for one too many (go.dev/issue/42777) and sends it again, whatever its method, if the body can be made again.
# So the server behind gets the same POST twice, while the client sees a single answer of 200 and no error.
#
# Seen with: Debian 12 lighttpd 1.4.69-1 (mod_proxy) with 40 restarts, 2 ms away each way, Go 1.26.8 as the client
# (net/http's Transport with HTTP/2 without TLS, h2_bundle.go: http2canRetryError) and the server behind. nginx 1.22.1, reloaded
# as often, for comparison. Output when written:
#
#   lighttpd: 4308 POSTs answered, 0 failed, 32 processed twice
#   nginx:    4050 POSTs answered, 0 failed, 0 processed twice
#
# Needs Go, lighttpd and nginx (apt-get install lighttpd nginx). Nothing but 127.0.0.1 is used.
set -euo pipefail

PATH=$PATH:/usr/sbin
for p in nginx lighttpd; do
  command -v "$p" >/dev/null || { echo "$p is not installed: apt-get install $p"; exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
lighttpd -v | sed -n 1p
nginx -v 2>&1
go version

cat >go.mod <<'GO'
module finding
go 1.26
GO
cat >main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const away = 2 * time.Millisecond // each way

// times counts how often the server behind has got each POST.
var times = struct {
	sync.Mutex
	of map[string]int
}{of: map[string]int{}}

func origin() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		times.Lock()
		times.of[string(body)]++
		times.Unlock()
		time.Sleep(5 * time.Millisecond)
		w.Write(body)
	}))
	return l.Addr().String()
}

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

// post sends POSTs to addr while the server is restarted, and says what became of them.
func post(name, addr string, restart func()) string {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	client := http.Client{Transport: transport}
	defer transport.CloseIdleConnections()
	var working sync.WaitGroup
	var number, answered, failed atomic.Int64
	stop := make(chan struct{})
	for range 8 {
		working.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprint(name, number.Add(1))
				resp, err := client.Post("http://"+addr+"/", "text/plain", strings.NewReader(id))
				if err != nil {
					failed.Add(1)
					continue
				}
				if body, err := io.ReadAll(resp.Body); err == nil && resp.StatusCode == http.StatusOK && string(body) == id {
					answered.Add(1)
				} else {
					failed.Add(1)
				}
				resp.Body.Close()
			}
		})
	}
	for range 40 {
		time.Sleep(250 * time.Millisecond)
		restart()
	}
	time.Sleep(250 * time.Millisecond)
	close(stop)
	working.Wait()
	twice := 0
	times.Lock()
	defer times.Unlock()
	for id, n := range times.of {
		if strings.HasPrefix(id, name) && n > 1 {
			twice++
		}
	}
	return fmt.Sprintf("%d POSTs answered, %d failed, %d processed twice", answered.Load(), failed.Load(), twice)
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
	behind := origin()
	host, port, _ := net.SplitHostPort(behind)

	addr := freeAddr()
	_, own, _ := net.SplitHostPort(addr)
	lighttpd := start(addr, "lighttpd", "-D", "-f", write("lighttpd.conf", fmt.Sprintf(`
server.modules = ("mod_proxy")
server.document-root = "%[1]s"
server.errorlog = "/dev/null"
server.upload-dirs = ("%[1]s")
server.bind = "127.0.0.1"
server.port = %[2]s
server.feature-flags = ("server.h2proto" => "enable", "server.h2c" => "enable")
proxy.server = ("" => (("host" => "%[3]s", "port" => %[4]s)))
`, dir, own, host, port)))
	defer lighttpd.Signal(syscall.SIGTERM)
	fmt.Println("lighttpd:", post("lighttpd", proxy(addr), func() { lighttpd.Signal(syscall.SIGUSR1) }))

	addr = freeAddr()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	nginx := start(addr, "nginx", "-e", "stderr", "-p", dir, "-c", write("nginx.conf", fmt.Sprintf(`
%s daemon off; pid %[2]s/nginx.pid; worker_processes 1;
events {}
http {
	access_log off;
	client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
	server { listen %[3]s http2; location / { proxy_pass http://%[4]s; } }
}`, user, dir, addr, behind)))
	defer nginx.Signal(syscall.SIGTERM)
	fmt.Println("nginx:   ", post("nginx", proxy(addr), func() { nginx.Signal(syscall.SIGHUP) }))
}
GO
go run . | tee out
grep -qE '^lighttpd: .* [1-9][0-9]* processed twice$' out && grep -qE '^nginx: .* 0 failed, 0 processed twice$' out ||
  { echo "it has changed"; exit 1; }
echo "as written down"
