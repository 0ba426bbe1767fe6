package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sidestep-lb/sidestep/examples/quiz"
)

// certificate writes a certificate for 127.0.0.1 to a directory, as a Secret
// holds it, and returns what trusts it.
func certificate(t *testing.T, directory string) *x509.CertPool {
	t.Helper()
	lender := httptest.NewTLSServer(nil)
	defer lender.Close()
	own := lender.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: own.Certificate[0]},
		"tls.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(directory, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AddCert(lender.Certificate())
	return pool
}

func TestHTTPIsServedInEveryVersion(t *testing.T) {
	directory := t.TempDir()
	trusted := certificate(t, directory)
	l, err := options{http: "127.0.0.1:0", https: "127.0.0.1:0", grpc: "127.0.0.1:0", tls: directory}.listen()
	if err != nil {
		t.Fatal(err)
	}
	s := newServer("quiz-0", knobs{Ready: true}, time.Hour)
	served := s.serve(l)
	t.Cleanup(func() {
		s.kill()
		select {
		case err := <-served:
			t.Error(err)
		default:
		}
	})
	protocols := func(set func(*http.Protocols, bool)) *http.Protocols {
		p := new(http.Protocols)
		set(p, true)
		return p
	}
	for _, c := range []struct {
		url       string
		protocols *http.Protocols
		want      string
	}{
		{"http://" + l.http.Addr().String(), protocols((*http.Protocols).SetHTTP1), "HTTP/1.1"},
		{"http://" + l.http.Addr().String(), protocols((*http.Protocols).SetUnencryptedHTTP2), "HTTP/2.0"},
		{"https://" + l.https.Addr().String(), protocols((*http.Protocols).SetHTTP1), "HTTP/1.1"},
		{"https://" + l.https.Addr().String(), protocols((*http.Protocols).SetHTTP2), "HTTP/2.0"},
	} {
		transport := &http.Transport{Protocols: c.protocols, TLSClientConfig: &tls.Config{RootCAs: trusted}}
		client := &http.Client{Transport: transport}
		response, err := client.Post(c.url+"/questions", "text/plain", strings.NewReader("?"))
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.Proto != c.want || response.StatusCode != http.StatusOK || !strings.Contains(string(body), "quiz-0") {
			t.Errorf("%s: %s %s: %q, %v; want %s", c.url, response.Proto, response.Status, body, err, c.want)
		}
		transport.CloseIdleConnections()
	}
}

func TestConnectionsToTheAgedPortEnd(t *testing.T) {
	l, err := options{http: "127.0.0.1:0", grpc: "127.0.0.1:0", aged: "127.0.0.1:0"}.listen()
	if err != nil {
		t.Fatal(err)
	}
	s := newServer("quiz-0", knobs{Ready: true}, 200*time.Millisecond)
	s.serve(l)
	t.Cleanup(s.kill)
	for addr, ends := range map[string]bool{l.grpc.Addr().String(): false, l.aged.Addr().String(): true} {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := quiz.Ask(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if ended := conn.WaitForStateChange(ctx, connectivity.Ready); ended != ends {
			t.Errorf("after a second on %s the connection has ended: %v, want %v", addr, ended, ends)
		}
		cancel()
	}
}
