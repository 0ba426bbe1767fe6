// Command resp is a server that speaks as much of Redis' protocol as a client of
// Redis needs to ask who it is talking to. It is built for the end-to-end tests, which
// run it in pods. On SIGTERM it ends at once, as Redis does, and so do its connections.
//
//	GET pod    the name of the pod
//	GET conns  how many connections each client has to it, as JSON, by the clients' addresses
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

func main() {
	listener, err := net.Listen("tcp", ":6379")
	if err != nil {
		log.Fatal(err)
	}
	s := &server{pod: os.Getenv("POD_NAME"), conns: make(map[string]int)}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go s.serve(conn)
		}
	}()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
}

type server struct {
	pod string

	mu    sync.Mutex
	conns map[string]int // by address of the client; guarded by mu
}

func (s *server) count(client string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[client] += n; s.conns[client] == 0 {
		delete(s.conns, client)
	}
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	client, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	s.count(client, 1)
	defer s.count(client, -1)
	in, out := bufio.NewReader(conn), bufio.NewWriter(conn)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		out.WriteString(s.answer(args))
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

func (s *server) answer(args []string) string {
	switch command := strings.ToUpper(args[0]); {
	case command == "PING":
		return "+PONG\r\n"
	case command == "CLIENT":
		return "+OK\r\n"
	case command == "GET" && len(args) == 2 && args[1] == "pod":
		return bulk(s.pod)
	case command == "GET" && len(args) == 2 && args[1] == "conns":
		s.mu.Lock()
		defer s.mu.Unlock()
		text, err := json.Marshal(s.conns)
		if err != nil {
			return "-ERR " + err.Error() + "\r\n"
		}
		return bulk(string(text))
	default:
		return "-ERR unknown command '" + strconv.Quote(args[0]) + "'\r\n"
	}
}

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

const maxLength = 1 << 16 // of a command's parts, and of how many there are

// readCommand reads an array of strings.
func readCommand(in *bufio.Reader) ([]string, error) {
	n, err := readLength(in, '*')
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		length, err := readLength(in, '$')
		if err != nil {
			return nil, err
		}
		text := make([]byte, length+len("\r\n"))
		if _, err := io.ReadFull(in, text); err != nil {
			return nil, err
		}
		args[i] = string(text[:length])
	}
	return args, nil
}

func readLength(in *bufio.Reader, kind byte) (int, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimRight(line[1:], "\r\n"))
	if err != nil || line[0] != kind || n < 1 || n > maxLength {
		return 0, fmt.Errorf("%q is no length of kind %q", line, kind)
	}
	return n, nil
}
