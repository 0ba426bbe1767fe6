package dialbalancer_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

func TestTLSChecksTheNameOfTheServiceAndNotThePodsAddress(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler()) // its certificate is for example.com, among others
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	d, err := dialbalancer.New("static:///"+server.Listener.Addr().String(), dialbalancer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()

	dial := d.TLS(&tls.Config{RootCAs: roots})
	conn, err := dial(t.Context(), "tcp", "example.com:443")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 404") {
		t.Errorf("got %q and %v", answer, err)
	}

	_, err = dial(t.Context(), "tcp", "other.org:443")
	var wrong x509.HostnameError
	var op *net.OpError
	if !errors.As(err, &wrong) || !errors.As(err, &op) || op.Op != "dial" {
		t.Errorf("got %v, want a dial error that says that the name is wrong", err)
	}
}

func TestAStaleConnectionIsToldThroughTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	d, err := dialbalancer.New("static:///"+server.Listener.Addr().String(), dialbalancer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	conn, err := d.TLS(&tls.Config{InsecureSkipVerify: true})(t.Context(), "tcp", "example.com:443") //nolint:gosec // of a test
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil || raw.Read(func(uintptr) bool { t.Error("a pool looked at the socket below TLS"); return true }) != nil {
		t.Errorf("a connection that is not stale: %v", err)
	}
	d.CloseConns(func(discovery.Endpoint) bool { return true })
	if _, err := conn.(syscall.Conn).SyscallConn(); err == nil {
		t.Error("a connection that the Dialer has closed is not told from others")
	}
	if own, ok := dialbalancer.ConnOf(conn); !ok || !own.Stale() {
		t.Errorf("ConnOf: %v, %v", own, ok)
	}
}

func TestATCPConnectionIsBelow(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := dialbalancer.New("static:///"+l.Addr().String(), dialbalancer.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	conn, err := d.Dial("tcp", "any:1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(*dialbalancer.Conn).NetConn().(*net.TCPConn); !ok {
		t.Errorf("below is a %T", conn.(*dialbalancer.Conn).NetConn())
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	looked := false
	if err != nil || raw.Read(func(uintptr) bool { looked = true; return true }) != nil || !looked {
		t.Errorf("its socket could not be looked at: %v", err)
	}
	if _, ok := dialbalancer.ConnOf(conn.(*dialbalancer.Conn).NetConn()); ok {
		t.Error("a TCP connection was taken for a Conn")
	}
}
