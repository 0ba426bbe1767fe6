package kube_test

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

func resolvConf(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	writeFile(t, file, text)
	return file
}

const searchOfPod = "search team.svc.corp.example svc.corp.example corp.example\nnameserver 10.96.0.10\noptions ndots:5\n"

func TestTheNamespaceIsThatOfTheConfigOrThePods(t *testing.T) {
	account, none := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(account, "namespace"), "kiada\n")
	pod, host := resolvConf(t, searchOfPod), resolvConf(t, "search office.example\n")
	for _, tt := range []struct {
		name, want, account string
		config              kube.Config
	}{
		{"the config", "shop", account, kube.Config{Namespace: "shop", ResolvConf: pod}},
		{"the service account", "kiada", account, kube.Config{ResolvConf: pod}},
		{"the search path", "team", none, kube.Config{ResolvConf: pod}},
		{"the search path, whatever the server", "team", none, kube.Config{ResolvConf: pod, Host: "http://127.0.0.1:1"}},
		{"nothing", "", none, kube.Config{ResolvConf: host}},
		{"no file", "", none, kube.Config{ResolvConf: host + ".missing"}},
	} {
		if got := kube.NewForTest(tt.config, tt.account).Canonical(parse(t, "k8s:///quiz:grpc")).Namespace; got != tt.want {
			t.Errorf("%s: namespace %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestWhereNothingTellsTheNamespaceANameWithoutOneIsAnErrorAtOnce(t *testing.T) {
	server := kubetest.Start()
	defer server.Close()
	server.SetService(kubetest.ClusterIPService("default", "quiz", kubetest.Ports{"grpc": 80}))
	server.SetEndpointSlice(kubetest.Slice("default", "quiz", "quiz-a", kubetest.Ports{"grpc": 8080}, kubetest.Ready("10.0.0.1", "quiz-0")))
	source := kube.NewForTest(kube.Config{Host: server.URL(), Client: server.Client(), ResolvConf: resolvConf(t, "")}, t.TempDir())
	_, err := discovery.Resolve(soon(t), source, parse(t, "k8s:///quiz:grpc"))
	if !errors.Is(err, discovery.ErrUnavailable) || !strings.Contains(err.Error(), "quiz.NAMESPACE") {
		t.Errorf("error: %v", err)
	}
}

func token(issuer string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(`{"iss":"`+issuer+`"}`)) + ".c2lnbmF0dXJl\n"
}

func TestTheDomainIsThatOfTheConfigOrTheSearchPathOrTheToken(t *testing.T) {
	pod, host := resolvConf(t, searchOfPod), resolvConf(t, "search office.example\n")
	for _, tt := range []struct {
		name, want, token string
		config            kube.Config
	}{
		{"the config", "prod.example", token("https://kubernetes.default.svc.other.example"), kube.Config{Domain: "Prod.Example.", ResolvConf: pod}},
		{"the search path", "corp.example", token("https://kubernetes.default.svc.other.example"), kube.Config{ResolvConf: pod}},
		{"the token", "other.example", token("https://kubernetes.default.svc.Other.Example"), kube.Config{ResolvConf: host}},
		{"the token is for another server", "cluster.local", token("https://kubernetes.default.svc.other.example"), kube.Config{ResolvConf: host, Host: "http://127.0.0.1:1"}},
		{"another issuer", "cluster.local", token("https://oidc.example.com/id/1"), kube.Config{ResolvConf: host}},
		{"an issuer without a domain", "cluster.local", token("https://kubernetes.default.svc"), kube.Config{ResolvConf: host}},
		{"no token of that kind", "cluster.local", "opaque", kube.Config{ResolvConf: host}},
		{"nothing", "cluster.local", "", kube.Config{ResolvConf: host + ".missing"}},
	} {
		account := t.TempDir()
		if tt.token != "" {
			writeFile(t, filepath.Join(account, "token"), tt.token)
		}
		if got := kube.NewForTest(tt.config, account).Domain(); got != tt.want {
			t.Errorf("%s: domain %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestANameInAnotherDomainIsNotAServiceOfThisCluster(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	source := kube.NewForTest(kube.Config{Host: server.URL(), Client: server.Client(), Domain: "corp.example"}, "/nowhere")
	awaitEndpoints(t, watch(t, source, "k8s:///quiz.kiada.svc.Corp.Example.:grpc"), "10.0.0.1:8080")
	for _, name := range []string{
		"k8s:///quiz.kiada.svc.cluster.local:grpc", "k8s:///quiz.kiada.svc.clusterset.local:grpc", "k8s:///quiz.kiada.svc.example:grpc",
		"k8s:///quiz.kiada.svc.east.corp.example:grpc", "k8s:///quiz.kiada.svc.corp.example.com:grpc", "k8s:///quiz.kiada.svc.east.example?via=nodeport",
	} {
		snapshot, err := discovery.Resolve(soon(t), source, parse(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(snapshot.Endpoints) > 0 || !errors.Is(snapshot.Reason, discovery.ErrServiceNotFound) || !strings.Contains(snapshot.Reason.Error(), "corp.example") {
			t.Errorf("%s: %s, reason %v", name, text(snapshot), snapshot.Reason)
		}
	}
}

func TestDNSAnswersForNamesOfOtherDomains(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	names, err := dnstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	names.SetA("quiz.kiada.svc.clusterset.local.", time.Second, netip.MustParseAddr("10.9.9.1"), netip.MustParseAddr("10.9.9.2"))
	source := discovery.Fallback(newSource(server), dns.New(dns.Config{Servers: []string{names.Addr()}, Domain: "cluster.local", Namespace: "kiada"}))
	for target, want := range map[string]string{
		"k8s:///quiz.kiada.svc.clusterset.local:80": "10.9.9.1:80 10.9.9.2:80",
		"k8s:///quiz.kiada.svc.clusterset.nowhr:80": "-",
		"k8s:///quiz.kiada.svc.cluster.local:80":    "10.0.0.1:8080",
	} {
		snapshot, err := discovery.Resolve(soon(t), source, parse(t, target))
		if err != nil || text(snapshot) != want {
			t.Errorf("%s: %s, error %v, want %s", target, text(snapshot), err, want)
		}
	}
}

// What the fall-back knows of the namespace is good for the API server, too.
func TestTheFallBackTellsTheNamespace(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	primary := kube.NewForTest(kube.Config{Host: server.URL(), Client: server.Client(), ResolvConf: resolvConf(t, "")}, t.TempDir())
	source := discovery.Fallback(primary, dns.New(dns.Config{ResolvConf: resolvConf(t, strings.ReplaceAll(searchOfPod, "team", "kiada"))}))
	snapshot, err := discovery.Resolve(soon(t), source, parse(t, "k8s:///quiz:grpc"))
	if err != nil || text(snapshot) != "10.0.0.1:8080" || snapshot.Degraded != nil {
		t.Errorf("%s, error %v", text(snapshot), err)
	}
}

// No input makes a foreign name local.
func FuzzForeignNamesStayForeign(f *testing.F) {
	f.Add("quiz.kiada.svc.cluster.local", "cluster.local")
	f.Add("quiz.kiada.svc.clusterset.local", "cluster.local")
	f.Add("quiz.kiada.svc.Cluster.Local.", "cluster.local.")
	f.Add("quiz.kiada.", "kiada")
	f.Fuzz(func(t *testing.T, name, domain string) {
		target, err := discovery.ParseTarget("k8s:///" + name + ":80")
		if err != nil {
			return
		}
		source := kube.NewForTest(kube.Config{Host: "http://127.0.0.1:1", Namespace: "own", Domain: domain, ResolvConf: "/nowhere"}, "/nowhere")
		got := source.Canonical(target)
		if got.Domain != "" {
			return // foreign, and stays so
		}
		name = strings.ToLower(name)
		short := strings.Join([]string{target.Service, target.Namespace}, ".")
		switch name {
		case target.Service, short, short + ".svc":
		case short + ".svc." + source.Domain(), short + ".svc." + source.Domain() + ".":
		default:
			t.Errorf("%q is a Service of the cluster %q", name, domain)
		}
		if again := source.Canonical(got); again != got {
			t.Errorf("%v becomes %v", got, again)
		}
	})
}
