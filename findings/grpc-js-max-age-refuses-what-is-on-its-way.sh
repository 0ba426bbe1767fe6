#!/usr/bin/env bash
# What one would say: a server with a maximum connection age ends a connection in two steps (gRFC A9, and RFC 9113, section
# 6.8): a GOAWAY for the highest stream there can be, 2^31-1, which stops new calls and promises to answer those on their way;
# then, a round trip later, one with the last stream. No call is refused. grpc-go's server does that, and waits for the answer
# to a PING in between. grpc-js sends that first GOAWAY, too, with the words "max_age".
#
# What happens: grpc-js sends the second one at once, in the same turn of its event loop, with the last stream that it has seen
# so far. The promise of the first holds for no moment: all calls on their way are refused, each time a connection reaches its
# age, however long the grace period (grpc.max_connection_age_grace_ms). It is Node.js's Http2Session.close that sends it, and
# grpc-js calls that right after its own goaway. From 10 ms away with a call every 3 ms that is 6 calls and more; a client
# that does not repeat them by itself, or has done so once already, fails them.
#
# Seen with: @grpc/grpc-js 1.14.7 on Node.js 20.20.2, google.golang.org/grpc v1.85.0, frames by golang.org/x/net/http2 v0.60.0,
# Go 1.26.8. Output when written:
#
#   grpc-go: GOAWAY 2147483647 "max_age", after 33 ms GOAWAY of the last stream; 0 calls refused
#   grpc-js: GOAWAY 2147483647 "max_age", after 0 ms GOAWAY of the last stream; 6 calls refused
#
# Needs Go, and Node.js with npm. The registries aside, nothing but 127.0.0.1 is used.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
node --version
go version
npm install --silent --no-audit --no-fund --ignore-scripts @grpc/grpc-js@1.14.7 >npm.log 2>&1 || { cat npm.log; exit 2; }

cat >server.js <<'JS'
const grpc = require('@grpc/grpc-js');
const asIs = (b) => b;
const server = new grpc.Server({ 'grpc.max_connection_age_ms': 1000, 'grpc.max_connection_age_grace_ms': 10000 });
server.addService(
  { Ask: { path: '/quiz/Ask', requestStream: false, responseStream: false, requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs } },
  { Ask: (call, callback) => callback(null, call.request) },
);
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (err, port) => {
  if (err) throw err;
  console.log(port);
});
JS
cat >go.mod <<'GO'
module finding
go 1.26
require (
	golang.org/x/net v0.60.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)
GO
cat >main.go <<'GO'
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/emptypb"
)

const away = 10 * time.Millisecond // each way

type parcel struct {
	due  time.Time
	data []byte
	err  error
}

// carry copies what comes from one connection to another, later.
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
		if p.err != nil {
			to.CloseWrite()
		} else {
			to.Write(p.data)
		}
	}
}

// dial connects to a server that is some way away.
func dial(target string) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		panic(err)
	}
	near, _ := l.Accept()
	far, err := net.Dial("tcp", target)
	if err != nil {
		panic(err)
	}
	go carry(far.(*net.TCPConn), near.(*net.TCPConn))
	go carry(near.(*net.TCPConn), far.(*net.TCPConn))
	return c
}

// play makes a call every 3 ms until the server wants no more, and tells what the server says.
func play(target string) (said string, between time.Duration, refused int) {
	c := dial(target)
	defer c.Close()
	io.WriteString(c, http2.ClientPreface)
	framer := http2.NewFramer(c, c)
	var mu sync.Mutex // guards the framer's writing side and all below
	open := map[uint32]bool{}
	draining := false
	framer.WriteSettings()
	go func() {
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for id := uint32(1); ; id += 2 {
			mu.Lock()
			if draining {
				mu.Unlock()
				return
			}
			block.Reset()
			for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/quiz/Ask"}, {":authority", "quiz"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
				encoder.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
			}
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true})
			framer.WriteData(id, true, make([]byte, 5)) // an empty message
			open[id] = true
			mu.Unlock()
			time.Sleep(3 * time.Millisecond)
		}
	}()
	var first time.Time
	var last uint32
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			break
		}
		mu.Lock()
		switch f := frame.(type) {
		case *http2.GoAwayFrame:
			draining = true // no new calls from the first on, as clients do
			if first.IsZero() {
				first = time.Now()
				said = fmt.Sprintf("GOAWAY %d %q", f.LastStreamID, f.DebugData())
			} else if last == 0 {
				between, last = time.Since(first), f.LastStreamID
			}
		case *http2.HeadersFrame:
			if f.StreamEnded() {
				delete(open, f.StreamID)
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				framer.WritePing(true, f.Data)
			}
		case *http2.SettingsFrame:
			if !f.IsAck() {
				framer.WriteSettingsAck()
			}
		}
		mu.Unlock()
	}
	for id := range open {
		if id <= last {
			panic("a call that was not refused has no answer")
		}
	}
	return said, between, len(open)
}

func main() {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	s := grpc.NewServer(grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: time.Second, MaxConnectionAgeGrace: 10 * time.Second}))
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "quiz", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Ask",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var m emptypb.Empty
			return &m, decode(&m)
		},
	}}}, nil)
	go s.Serve(l)
	tell("grpc-go", l.Addr().String())

	cmd := exec.Command("node", "server.js")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	defer cmd.Process.Kill()
	port, _ := bufio.NewReader(out).ReadString('\n')
	tell("grpc-js", "127.0.0.1:"+strings.TrimSpace(port))
}

func tell(name, addr string) {
	said, between, refused := play(addr)
	fmt.Printf("%s: %s, after %d ms GOAWAY of the last stream; %d calls refused\n", name, said, between.Milliseconds(), refused)
}
GO
go mod tidy >/dev/null 2>&1
go run . | tee out
grep -qE '^grpc-go: GOAWAY 2147483647 "max_age", after [0-9]{2,} ms GOAWAY of the last stream; 0 calls refused$' out &&
  grep -qE '^grpc-js: GOAWAY 2147483647 "max_age", after [0-9] ms GOAWAY of the last stream; [1-9][0-9]* calls refused$' out ||
  { echo "it has changed"; exit 1; }
echo "as written down"
