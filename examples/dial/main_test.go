package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestEachConnectionIsToAnotherPod(t *testing.T) {
	var addrs []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				if line, _ := bufio.NewReader(conn).ReadString('\n'); line == "PING\r\n" {
					fmt.Fprint(conn, "+PONG\r\n")
				}
			}
		}()
		addrs = append(addrs, l.Addr().String())
	}
	var out strings.Builder
	if err := ping(t.Context(), &out, "static:///"+strings.Join(addrs, ","), "redis.shop:6379"); err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs {
		if want := addr + ": +PONG\r\n"; strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not once in %q", want, out.String())
		}
	}
}
