// Command dial asks three connections for a line each, over the pods of a Service:
//
//	go run ./examples/dial k8s:///redis.shop:redis redis.shop:6379
//
// It speaks to anything that answers PING with a line, as Redis does.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: dial TARGET ADDRESS")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := ping(ctx, os.Stdout, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func ping(ctx context.Context, out io.Writer, target, address string) error {
	dialer, err := dialbalancer.New(target, dialbalancer.Config{})
	if err != nil {
		return err
	}
	defer dialer.Close()
	for range 3 {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
			return err
		}
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s", conn.RemoteAddr(), answer)
	}
	return nil
}
