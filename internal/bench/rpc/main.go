// Command rpc makes gRPC requests over loopback, for the suite of that name:
//
//	rpc serve N            # N servers in this process; prints their addresses
//	rpc measure CLIENT     # reads addresses, prints the figures of a client
//
// Servers and client are two processes, so that what is counted is the client's.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "rpc:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want two arguments, got %d", len(args))
	}
	switch args[0] {
	case "serve":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return serve(n)
	case "measure":
		var addresses []string
		if err := json.NewDecoder(os.Stdin).Decode(&addresses); err != nil {
			return err
		}
		figures, err := measure(args[1], addresses)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(figures)
	default:
		return fmt.Errorf("there is no command %q", args[0])
	}
}

// serve serves until its standard input ends.
func serve(n int) error {
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	addresses := make([]string, n)
	for i := range addresses {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		addresses[i] = listener.Addr().String()
		go func() { _ = server.Serve(listener) }()
	}
	if err := json.NewEncoder(os.Stdout).Encode(addresses); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	server.Stop()
	return err
}
