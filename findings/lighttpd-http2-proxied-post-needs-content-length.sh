#!/usr/bin/env bash
# What one would say: a request body without Content-Length is as good as one with it. HTTP/1.1 has chunks for it, and in
# HTTP/2 the END_STREAM flag says where the body ends (RFC 9113, section 8.1.1: Content-Length is optional). A proxy that
# buffers request bodies, as lighttpd does by default, knows the length before it sends anything on.
#
# What happens: mod_proxy of lighttpd 1.4.69 takes the chunked POST over HTTP/1.1 (it buffers it and sends the length on), and
# answers the same POST over HTTP/2 with 411 Length Required. With Content-Length the POST over HTTP/2 is proxied, too. So a
# client that moves from HTTP/1.1 to HTTP/2 begins to fail where a body comes from a stream: an http.Request with a body from
# an io.Pipe, or httputil.ReverseProxy that hands on a chunked request.
#
# Seen with: Debian 12 lighttpd 1.4.69-1 (mod_proxy, default settings but for HTTP/2 without TLS), Go 1.26.8 as the client
# and the server behind. Output when written:
#
#   HTTP/1.1, Content-Length: 200
#   HTTP/1.1, chunked:        200
#   HTTP/2, Content-Length:   200
#   HTTP/2, no length:        411
#
# Needs Go and lighttpd (apt-get install lighttpd). Nothing but 127.0.0.1 is used.
set -euo pipefail

server=$(command -v lighttpd || echo /usr/sbin/lighttpd)
[[ -x $server ]] || { echo "lighttpd is not installed: apt-get install lighttpd"; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$server" -v | sed -n 1p
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
	"strings"
	"time"
)

// origin is what lighttpd proxies to.
func origin() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s", body)
	}))
	return l.Addr().String()
}

func post(addr string, http2, length bool) string {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	client := http.Client{Transport: &http.Transport{Protocols: &protocols}}
	const body = "hello"
	req, _ := http.NewRequest(http.MethodPost, "http://"+addr+"/", io.NopCloser(strings.NewReader(body)))
	if length {
		req.ContentLength = int64(len(body))
	}
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusOK && string(answer) != body {
		return fmt.Sprintf("%q", answer)
	}
	return fmt.Sprint(resp.StatusCode)
}

func main() {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	_, originPort, _ := net.SplitHostPort(origin())
	dir, _ := os.Getwd()
	config := fmt.Sprintf(`
server.modules = ("mod_proxy")
server.document-root = "%[1]s"
server.errorlog = "/dev/null"
server.upload-dirs = ("%[1]s")
server.bind = "127.0.0.1"
server.port = %[2]s
server.feature-flags = ("server.h2proto" => "enable", "server.h2c" => "enable")
proxy.server = ("" => (("host" => "127.0.0.1", "port" => %[3]s)))
`, dir, port, originPort)
	os.WriteFile("lighttpd.conf", []byte(config), 0o644)
	server := exec.Command(os.Args[1], "-D", "-f", "lighttpd.conf")
	if err := server.Start(); err != nil {
		panic(err)
	}
	defer server.Process.Kill()
	for range 500 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for range 3 { // it is no matter of chance
		fmt.Println("HTTP/1.1, Content-Length:", post(addr, false, true))
		fmt.Println("HTTP/1.1, chunked:       ", post(addr, false, false))
		fmt.Println("HTTP/2, Content-Length:  ", post(addr, true, true))
		fmt.Println("HTTP/2, no length:       ", post(addr, true, false))
	}
}
GO
go run . "$server" | tee out
cat >want <<'WANT'
HTTP/1.1, Content-Length: 200
HTTP/1.1, chunked:        200
HTTP/2, Content-Length:   200
HTTP/2, no length:        411
WANT
diff <(sort -u want) <(sort -u out) || { echo "it has changed"; exit 1; }
echo "as written down"
