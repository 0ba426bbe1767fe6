//go:build linux

package interop

import (
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A process is a server with its children.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output logBuffer
	ended  chan struct{}
}

// start starts a server, which is stopped at the end of the test at the latest.
// Its working folder is dir.
func start(t *testing.T, dir, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	// In a group of its own, to end with its children, also when the test is killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		// Its children end with it, also an old worker that still waits for something.
		// Until it is waited for, nobody else can have the number of its group.
		unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.stop()
		if said := p.output.String(); t.Failed() && said != "" {
			t.Logf("%s said:\n%s", filepath.Base(program), said)
		}
	})
	return p
}

func (p *process) signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("signal %v: %v", s, err)
	}
}

// stop ends the server and all its children.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(3 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

// says waits until the server has said something so many times.
func (p *process) says(text string, times int) {
	p.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); strings.Count(p.output.String(), text) < times; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("the server has not said %q %d times: %s", text, times, p.output.String())
		}
	}
}

// listening waits until the server accepts connections.
func (p *process) listening(addr string) {
	p.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-p.ended:
			p.t.Fatalf("the server has ended: %s", p.output.String())
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%v; the server says: %s", err, p.output.String())
		}
	}
}

const maxLog = 8 << 10 // bytes

// A logBuffer keeps the beginning of what is written to it.
type logBuffer struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p[:min(len(p), maxLog-len(b.text))]...)
	return len(p), nil
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.text)
}

var taken struct {
	mu    sync.Mutex
	ports map[int]bool
}

// freePort returns a port that nobody listens at. It is below those that the
// kernel gives to outgoing connections, so that it stays free while a server is
// restarted under load.
func freePort(t *testing.T) int {
	t.Helper()
	taken.mu.Lock()
	defer taken.mu.Unlock()
	if taken.ports == nil {
		taken.ports = map[int]bool{}
	}
	for range 1000 {
		port := 10000 + rand.IntN(20000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil || taken.ports[port] {
			continue
		}
		l.Close()
		taken.ports[port] = true
		return port
	}
	t.Fatal("no port is free")
	return 0
}

func freeAddr(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
}

// write writes a file and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func splitAddr(t *testing.T, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}
