package grpcbalancer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

func TestPolicyWorksWithAnotherResolver(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	other := manual.NewBuilderWithScheme("other")
	other.InitialState(grpcresolver.State{Addresses: []grpcresolver.Address{{Addr: a.addr.String()}, {Addr: b.addr.String()}}})
	conn := newClient(t, "other:///quiz", append(grpcbalancer.DialOptions(roundRobin),
		grpc.WithResolvers(other), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	askUntil(t, conn, a, b)
	other.UpdateState(grpcresolver.State{Addresses: []grpcresolver.Address{{Addr: b.addr.String()}}})
	askUntil(t, conn, b)
	if n := b.accepted.Load(); n != 1 {
		t.Errorf("the pod that stayed was connected to %d times", n)
	}
}

func TestPolicyWorksWithHostNamesAndUnixSockets(t *testing.T) {
	a := startPod(t, "a")
	options := append(grpcbalancer.DialOptions(balancer.Config{}), grpc.WithTransportCredentials(insecure.NewCredentials()))
	mustAsk(t, newClient(t, fmt.Sprintf("passthrough:///localhost:%d", a.addr.Port()), options...), 3)

	path := filepath.Join(t.TempDir(), "quiz.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- a.server.Serve(listener) }()
	mustAsk(t, newClient(t, "unix://"+path, options...), 3)
	a.server.Stop()
	<-served
}

func TestResolverWorksWithThePoliciesOfGRPC(t *testing.T) {
	a, b, c := startPod(t, "a"), startPod(t, "b"), startPod(t, "c")
	source := newSource(endpoints(a, b)...)
	conn := newClient(t, quiz,
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: source})),
		grpc.WithNoProxy(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	askUntil(t, conn, a, b)
	source.set(endpoints(a, b, c)...)
	askUntil(t, conn, a, b, c)
	source.set()
	eventually(t, "requests fail", func() bool { _, err := ask(conn, patience); return err != nil })
	source.set(endpoints(c)...)
	eventually(t, "requests succeed again", func() bool { _, err := ask(conn, patience); return err == nil })
}

func TestPickFirstSaysWhyThereIsNoEndpoint(t *testing.T) {
	conn := newClient(t, quiz,
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource([]discovery.Endpoint{}...)})),
		grpc.WithNoProxy(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	eventually(t, "the error names the Service", func() bool {
		_, err := ask(conn, patience)
		return err != nil && strings.Contains(err.Error(), quiz+": no endpoint ready")
	})
}

func TestConfigThatChangesWhileTheChannelIsInUseFailsNoRequest(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	other := manual.NewBuilderWithScheme("other")
	state := grpcresolver.State{Addresses: []grpcresolver.Address{{Addr: a.addr.String()}, {Addr: b.addr.String()}}}
	other.InitialState(state)
	conn := newClient(t, "other:///quiz", append(grpcbalancer.DialOptions(balancer.Config{}),
		grpc.WithResolvers(other), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	askUntil(t, conn, a, b)
	load := startLoad(conn, 4)
	for _, policy := range []string{balancer.RoundRobin, balancer.RoundRobin, balancer.LeastRequest, balancer.RoundRobin} {
		state.ServiceConfig = other.CC().ParseServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{"sidestep":{"policy":%q}}]}`, policy))
		other.UpdateState(state)
		asked := load.asked.Load()
		eventually(t, "100 requests are made", func() bool { return load.asked.Load() > asked+100 })
	}
	if failed := load.stop(); len(failed) > 0 {
		t.Errorf("%d requests failed, the first: %v", len(failed), failed[0])
	}
	if n := a.accepted.Load(); n != 4 {
		t.Errorf("pod a was connected to %d times, want once for each of 4 configs", n)
	}
}

func TestServerIsKnownByTheServicesName(t *testing.T) {
	certificate, roots := certify(t, "quiz.kiada")
	option := grpc.Creds(credentials.NewServerTLSFromCert(&certificate))
	a := startPodAt(t, "a", "127.0.0.1:0", []grpc.ServerOption{option})
	source := newSource(endpoints(a)...)
	for target, want := range map[string]string{"k8s:///quiz.kiada:grpc": "quiz.kiada", "k8s:///quiz.kiada:8080": "quiz.kiada:8080"} {
		conn := newClient(t, target, append(grpcbalancer.DialOptions(balancer.Config{}),
			grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: source})),
			grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, "")))...)
		mustAsk(t, conn, 1)
		if got := a.host.Load(); got != want {
			t.Errorf("%s: the :authority was %q, want %q", target, got, want)
		}
	}
	conn := newClient(t, "k8s:///other.kiada:grpc", append(grpcbalancer.DialOptions(balancer.Config{}),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: source})),
		grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, "")))...)
	_, err := ask(conn, patience)
	check(t, err, codes.Unavailable, "quiz.kiada", "other.kiada")
}

// certify returns a certificate of a server with the given name, and what a
// client must trust.
func certify(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{name},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
