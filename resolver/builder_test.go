package resolver_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

func TestSchemesAreRegistered(t *testing.T) {
	for _, scheme := range []string{"k8s", "kubernetes", "headless", "static"} {
		if b := grpcresolver.Get(scheme); b == nil || b.Scheme() != scheme {
			t.Errorf("the builder of %s is %v", scheme, b)
		}
	}
}

func TestStaticTargetIsServedByDefault(t *testing.T) {
	cc := newChannel()
	build(t, cc, "static:///10.0.0.1:80,[fd00::2]:80", resolver.Config{})
	if got := addresses(cc.state(t)); len(got) != 2 {
		t.Errorf("addresses %v", got)
	}
}

func TestMalformedTargetIsAnErrorThatPointsAtTheMistake(t *testing.T) {
	for text, want := range map[string]string{
		"k8s:///":                    `no service name`,
		"k8s:///Quiz":                `capital letter`,
		"k8s:///quiz.kiada:grpc?a=b": `at "?a=b"`,
		"k8s:///quiz.kiada/x":        `'/'`,
		"k8s:quiz":                   `write k8s:///`,
		"k8s://user@kiada/quiz":      `'@'`,
		"headless://quiz.kiada":      `three slashes`,
		"static:///localhost:80":     `IP address`,
	} {
		to := target(t, text)
		_, err := resolver.NewBuilder(to.URL.Scheme, resolver.Config{Source: newSource()}).Build(to, newChannel(), grpcresolver.BuildOptions{})
		var wrong *discovery.TargetError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) || wrong.Target != text {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// gRPC keeps what follows the question mark apart from the rest of the target.
func TestTheWayIntoAClusterReachesTheSource(t *testing.T) {
	asked := make(targets, 1)
	conn, err := grpc.NewClient("k8s:///quiz.kiada:grpc?via=nodeport",
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: asked})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Connect()
	want := discovery.Target{Scheme: "k8s", Service: "quiz", Namespace: "kiada", Port: discovery.Port{Name: "grpc"}, Via: discovery.ViaNodePort}
	select {
	case got := <-asked:
		if got != want {
			t.Errorf("the source is asked for %v, want %v", got, want)
		}
	case <-time.After(patience):
		t.Error("the source is not asked")
	}
}

// targets is a source that tells what it is asked for, and nothing else.
type targets chan discovery.Target

func (c targets) Watch(ctx context.Context, target discovery.Target, _ discovery.Receiver) {
	c <- target
	<-ctx.Done()
}

func TestAuthorityIsTheServicesName(t *testing.T) {
	for text, want := range map[string]string{
		"k8s:///quiz":                              "quiz",
		"k8s:///quiz.kiada:grpc":                   "quiz.kiada",
		"k8s:///quiz.kiada:8080":                   "quiz.kiada:8080",
		"k8s:///quiz.kiada:8080?via=nodeport":      "quiz.kiada:8080",
		"k8s:///quiz.kiada.svc.cluster.local:grpc": "quiz.kiada.svc.cluster.local",
		"kubernetes:///quiz.kiada:grpc":            "quiz.kiada",
		"kubernetes://kiada/quiz:8080":             "quiz:8080",
		"kubernetes://quiz:8080":                   "quiz:8080",
		"kubernetes://quiz":                        "quiz",
		"headless:///quiz.kiada:http":              "quiz.kiada",
		"static:///10.0.0.1:80,10.0.0.2:80":        "10.0.0.1:80",
		"static:///[fd00::2]:80":                   "[fd00::2]:80",
	} {
		to := target(t, text)
		b := resolver.NewBuilder(to.URL.Scheme, resolver.Config{}).(grpcresolver.AuthorityOverrider)
		if got := b.OverrideAuthority(to); got != want {
			t.Errorf("%s: authority %q, want %q", text, got, want)
		}
	}
}
