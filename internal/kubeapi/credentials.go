package kubeapi

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// How long a token and the certificates to trust are used before their files
// are looked at again. The kubelet replaces both while a pod runs: the token at
// 80 % of its life, by default after 48 minutes. client-go has the same figures.
const (
	tokenLife = time.Minute
	caLife    = 5 * time.Minute
)

// credentials keeps the token and the HTTP client of a Client up to date with
// the files that they come from.
type credentials struct {
	tokenFile, caFile string // set at the start and read-only

	mu        sync.Mutex
	bearer    string       // guarded by mu, as are all below
	tokenRead time.Time    // when bearer was read
	http      *http.Client // trusts what ca holds
	ca        []byte
	caRead    time.Time // when ca was read
}

// token returns the bearer token, or "" where there is no file for one. It
// reads the file if the last time is a minute ago, or if fresh is set.
func (c *credentials) token(fresh bool) (string, error) {
	if c.tokenFile == "" {
		return "", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !fresh && time.Since(c.tokenRead) < tokenLife {
		return c.bearer, nil
	}
	content, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read the service account's token: %w", err)
	}
	c.bearer, c.tokenRead = strings.TrimSpace(string(content)), time.Now()
	return c.bearer, nil
}

// client returns a client that trusts the certificates in the CA file. When
// they have changed it is a new one; watches that are running keep the old. It
// goes on with the old one, too, while the file cannot be read.
func (c *credentials) client() (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil && (c.caFile == "" || time.Since(c.caRead) < caLife) {
		return c.http, nil
	}
	ca, roots, err := c.readCA()
	switch {
	case c.http != nil && (err != nil || bytes.Equal(ca, c.ca)):
		c.caRead = time.Now()
		return c.http, nil
	case err != nil:
		return nil, err
	case c.http != nil:
		c.http.CloseIdleConnections()
	}
	c.http, c.ca, c.caRead = newHTTPClient(roots), ca, time.Now()
	return c.http, nil
}

// distrust has the CA file read at the next use, and reports whether there is one.
func (c *credentials) distrust() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.caRead = time.Time{}
	return c.caFile != ""
}

// readCA returns the content of the CA file. Without one it returns nothing,
// which stands for the system's certificates.
func (c *credentials) readCA() ([]byte, *x509.CertPool, error) {
	if c.caFile == "" {
		return nil, nil, nil
	}
	ca, err := os.ReadFile(c.caFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read the cluster's certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, nil, fmt.Errorf("read the cluster's certificates: %s holds none", c.caFile)
	}
	return ca, roots, nil
}

func (c *credentials) closeIdleConnections() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// newHTTPClient returns a client fit for watches: no limit on how long an
// answer takes, but pings that find a dead connection in 45 seconds, where the
// operating system would take a quarter of an hour.
func newHTTPClient(roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true, // the custom dialer and TLS config would turn it off
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		IdleConnTimeout:     90 * time.Second,
	}}
}
