package kubeapi

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// account writes a service account's files as the kubelet does.
func account(t *testing.T, server *httptest.Server, token string) string {
	t.Helper()
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	write(t, filepath.Join(dir, "ca.crt"), string(ca))
	write(t, filepath.Join(dir, "token"), token+"\n")
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// inPod returns the Client of a pod that is to reach server.
func inPod(t *testing.T, server *httptest.Server, dir string) *Client {
	t.Helper()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", host)
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	config, err := InCluster(dir)
	if err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func get(t *testing.T, client *Client) error {
	t.Helper()
	body, err := client.get(t.Context(), "/api", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

func TestAPodUsesItsTokenAndItsCertificatesOverHTTP2(t *testing.T) {
	var got *http.Request
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	if err := get(t, inPod(t, server, account(t, server, "secret"))); err != nil {
		t.Fatal(err)
	}
	if auth := got.Header.Get("Authorization"); auth != "Bearer secret" {
		t.Errorf("Authorization: %q", auth)
	}
	if agent := got.Header.Get("User-Agent"); !strings.HasPrefix(agent, "sidestep ") {
		t.Errorf("User-Agent: %q", agent)
	}
	if got.ProtoMajor != 2 {
		t.Errorf("protocol: %s", got.Proto)
	}
}

func TestA401IsTriedOnceMoreWithTheTokenReadAfresh(t *testing.T) {
	valid, requests := "old", 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.Header.Get("Authorization") != "Bearer "+valid {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	dir := account(t, server, "old")
	client := inPod(t, server, dir)
	if err := get(t, client); err != nil {
		t.Fatal(err)
	}
	valid = "new"
	write(t, filepath.Join(dir, "token"), "new")
	if err := get(t, client); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	valid, requests = "of somebody else", 0
	var status *StatusError
	if err := get(t, client); !errors.As(err, &status) || status.Code != http.StatusUnauthorized {
		t.Errorf("with a token that is no good: %v", err)
	}
	if requests != 2 {
		t.Errorf("%d requests, want one and a single retry", requests)
	}
}

func TestATokenIsReadAgainAfterAMinute(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	write(t, path, "old")
	c := credentials{tokenFile: path}
	token := func() string {
		t.Helper()
		token, err := c.token(false)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	token()
	write(t, path, "new")
	if got := token(); got != "old" {
		t.Errorf("token %q at once, want the one at hand", got)
	}
	c.tokenRead = c.tokenRead.Add(-tokenLife)
	if got := token(); got != "new" {
		t.Errorf("token %q after a minute", got)
	}
}

func TestNewCertificatesAreTrustedAndUnreadableOnesChangeNothing(t *testing.T) {
	first := httptest.NewTLSServer(http.NotFoundHandler())
	defer first.Close()
	path := filepath.Join(account(t, first, ""), "ca.crt")
	c := credentials{caFile: path}
	client := func() *http.Client {
		t.Helper()
		c.caRead = c.caRead.Add(-caLife)
		client, err := c.client()
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	old := client()
	if client() != old {
		t.Error("a new client although the certificates are the same")
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "half a certif")
	if client() != old {
		t.Error("a new client although the file holds no certificate")
	}
	write(t, path, string(good)+string(good))
	if client() == old {
		t.Error("the old client although the certificates have changed")
	}
}

func TestARotatedCertificateAuthorityIsTrustedAtOnce(t *testing.T) {
	first, second := kubetest.StartTLS(), kubetest.StartTLS()
	defer first.Close()
	defer second.Close()
	path := filepath.Join(t.TempDir(), "ca.crt")
	write(t, path, string(first.CA()))
	client, err := NewClient(Config{Host: first.URL(), CAFile: path})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	list := func() error {
		body, err := client.get(t.Context(), ServicesPath("kiada"), nil)
		if err == nil {
			body.Close()
		}
		return err
	}
	if err := list(); err != nil {
		t.Fatal(err)
	}
	if client.base, err = url.Parse(second.URL()); err != nil { // the same name, with the certificate of another authority
		t.Fatal(err)
	}
	var wrong *tls.CertificateVerificationError
	if err := list(); !errors.As(err, &wrong) {
		t.Errorf("before the file has the new authority: %v", err)
	}
	write(t, path, string(second.CA()))
	if err := list(); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestMissingCredentialsAreAnErrorThatNamesTheFile(t *testing.T) {
	client, err := NewClient(Config{Host: "https://127.0.0.1:1", TokenFile: "/nowhere/token"})
	if err != nil {
		t.Fatal(err)
	}
	if err := get(t, client); err == nil || !strings.Contains(err.Error(), "/nowhere/token") {
		t.Errorf("without a token: %v", err)
	}
	client, err = NewClient(Config{Host: "https://127.0.0.1:1", CAFile: "/nowhere/ca.crt"})
	if err != nil {
		t.Fatal(err)
	}
	if err := get(t, client); err == nil || !strings.Contains(err.Error(), "/nowhere/ca.crt") {
		t.Errorf("without certificates: %v", err)
	}
}

func TestTheTimeoutOfAGivenClientDoesNotEndAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-time.After(50 * time.Millisecond)
		_, _ = io.WriteString(w, "late")
	}))
	defer server.Close()
	client, err := NewClient(Config{Host: server.URL, HTTPClient: &http.Client{Transport: server.Client().Transport, Timeout: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	if err := get(t, client); err != nil {
		t.Error(err)
	}
}

func TestOutsideAClusterThereIsNoConfig(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := InCluster(ServiceAccountDir); !errors.Is(err, ErrNotInCluster) {
		t.Errorf("error: %v", err)
	}
}

func TestTheHostOfACluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
	config, err := InCluster(ServiceAccountDir)
	if err != nil || config.Host != "https://[fd00::1]:443" {
		t.Errorf("host %q, error %v", config.Host, err)
	}
}

func TestHostsThatAreNoURLAreRefused(t *testing.T) {
	for _, host := range []string{"", "ftp://api", "https://", "http://a b", "://", "https://[::1"} {
		if _, err := NewClient(Config{Host: host}); err == nil {
			t.Errorf("host %q was accepted", host)
		}
	}
	for host, want := range map[string]string{
		"10.0.0.1:6443":           "https://10.0.0.1:6443",
		"http://127.0.0.1:8001":   "http://127.0.0.1:8001",
		"https://rancher/k8s/c-1": "https://rancher/k8s/c-1",
	} {
		client, err := NewClient(Config{Host: host})
		if err != nil || client.base.String() != want {
			t.Errorf("host %q: %v, %v", host, client, err)
		}
	}
}

func TestRetryAfterOfAHostileServerIsBounded(t *testing.T) {
	resp := &http.Response{
		StatusCode: http.StatusTooManyRequests,
		Header:     http.Header{"Retry-After": {"99999999999"}},
		Body:       io.NopCloser(strings.NewReader(strings.Repeat("wait ", 100000))),
	}
	var status *StatusError
	if err := responseError(resp); !errors.As(err, &status) || status.RetryAfter != maxRetryAfter || len(status.Message) > 1100 {
		t.Errorf("error: %v", err)
	}
}
