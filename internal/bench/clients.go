package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// An api is where a client finds the API server. It has no credentials: to send
// a token costs all clients the same.
type api struct {
	Host string
	CA   []byte // PEM
}

// namespace is that of all Services here, portName that of their only port.
const (
	namespace = "kiada"
	portName  = "grpc"
)

// A watchClient keeps views of Services up to date.
type watchClient struct {
	column
	program string // the directory under clients of a minimal program that uses it
	// start watches until the process ends. It calls publish with the number of
	// usable addresses whenever the client hands its user a view, from any
	// goroutine.
	start func(a api, services []string, publish func(usable int)) error
}

var watchClients = []watchClient{
	{column{"discovery.Watch", true}, "sidestep", startDiscovery},
	{column{"resolver k8s", true}, "resolver", startResolver},
	{column{"client-go informer", false}, "informer", startInformers},
	{column{"kuberesolver v6", false}, "kuberesolver", startKuberesolver},
}

func clientNamed(name string) (watchClient, error) {
	i := slices.IndexFunc(watchClients, func(c watchClient) bool { return c.name == name })
	if i < 0 {
		return watchClient{}, fmt.Errorf("there is no client %q", name)
	}
	return watchClients[i], nil
}

// tls returns what trusts the server.
func (a api) tls() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.CA)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// http2 is a client as those in a cluster are, with HTTP/2.
func (a api) http2() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: a.tls(), ForceAttemptHTTP2: true}}
}

// A channel stands in for the gRPC channel that a resolver informs. Like one, it
// holds on to what it was told last.
type channel struct {
	publish func(usable int)

	mu    sync.Mutex
	state resolver.State // guarded by mu
}

// UpdateState implements resolver.ClientConn.
func (c *channel) UpdateState(s resolver.State) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
	c.publish(len(s.Addresses))
	return nil
}

// ReportError implements resolver.ClientConn.
func (c *channel) ReportError(err error) { warn(err) }

// NewAddress implements resolver.ClientConn.
func (c *channel) NewAddress(addresses []resolver.Address) {
	_ = c.UpdateState(resolver.State{Addresses: addresses})
}

// ParseServiceConfig implements resolver.ClientConn.
func (c *channel) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }
