package dns

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

func TestTheServiceAccountTellsTheNamespace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "namespace")
	if got := podNamespace(file); got != "" {
		t.Errorf("without the file: %q", got)
	}
	for text, want := range map[string]string{"kiada": "kiada", "kiada\n": "kiada", "": "", "not a label": "", "../x": ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := podNamespace(file); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestNamespaceAndDomainComeFromTheSearchPath(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	conf := "nameserver 10.96.0.10\nsearch kiada.svc.corp.example svc.corp.example corp.example office.example\noptions ndots:5\n"
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	inPod, outside := Config{ResolvConf: file}, Config{ResolvConf: file + ".missing"}
	for _, test := range []struct {
		config Config
		target string
		want   string
	}{
		{inPod, "headless:///quiz:80", "headless:///quiz.kiada.svc.corp.example:80"},
		{inPod, "headless:///quiz.shop:80", "headless:///quiz.shop.svc.corp.example:80"},
		{inPod, "headless:///quiz.shop.svc.other.example:80", "headless:///quiz.shop.svc.other.example:80"},
		{inPod, "headless:///db.example.com:80", "headless:///db.example.com:80"},
		{outside, "headless:///quiz.shop:80", "headless:///quiz.shop.svc.cluster.local:80"},
		{outside, "headless:///quiz:80", "headless:///quiz:80"}, // nothing tells the namespace
		{Config{ResolvConf: file, Namespace: "a", Domain: "b"}, "headless:///quiz:80", "headless:///quiz.a.svc.b:80"},
	} {
		target, err := discovery.ParseTarget(test.target)
		if err != nil {
			t.Fatal(err)
		}
		source := New(test.config)
		source.namespaceFile = file + ".missing" // the tests may themselves run in a pod
		if got := source.Canonical(target).String(); got != test.want {
			t.Errorf("%s is %s, want %s", test.target, got, test.want)
		}
	}
}

func TestTheServersOfResolvConf(t *testing.T) {
	for _, test := range []struct {
		name, text string
		servers    []string
	}{
		{"a pod's", "search kiada.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n", []string{"10.96.0.10:53"}},
		{"a host's", "# comment\nnameserver 192.0.2.1\nnameserver fd00::53\nsearch office.example\n", []string{"192.0.2.1:53", "[fd00::53]:53"}},
		{"no server", "search example.com", []string{"127.0.0.1:53"}},
		{"nonsense", "nameserver\nnameserver ns.example.com\nnameserver 10.0.0.1 10.0.0.2\nsearch\n\x00\xff", []string{"10.0.0.1:53"}},
		{"too many servers", strings.Repeat("nameserver 10.0.0.1\n", 5), []string{"10.0.0.1:53", "10.0.0.1:53", "10.0.0.1:53"}},
	} {
		conf := newResolvConf(podfiles.ParseResolvConf(test.text))
		if !slices.Equal(conf.servers, test.servers) {
			t.Errorf("%s: got %q", test.name, conf.servers)
		}
	}
}
