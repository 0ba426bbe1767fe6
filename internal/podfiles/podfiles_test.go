package podfiles

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const ofAPod = "search kiada.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"

func TestTheSearchPathOfAPodTellsNamespaceAndDomain(t *testing.T) {
	for text, want := range map[string][2]string{
		ofAPod: {"kiada", "cluster.local"},
		"search kiada.svc.corp.example svc.corp.example corp.example office.example\n": {"kiada", "corp.example"},
		"search office.example kiada.svc.corp.example\n":                               {"kiada", "corp.example"},
		"search svc.corp.example\n":                                                    {"", "corp.example"},
		"search office.example\n":                                                      {"", ""},
		"search a.svc.x svc.x\nsearch B.SVC.Y. SVC.Y.\n":                               {"b", "y"},
		"search a.svc.x\ndomain b.svc.y\n":                                             {"b", "y"},
		"search .svc.x svc. -.svc.x a..svc.x":                                          {"", ""},
		"":                                                                             {"", ""},
	} {
		conf := ParseResolvConf(text)
		if conf.Namespace() != want[0] || conf.Domain() != want[1] {
			t.Errorf("%q: namespace %q, domain %q, want %q", text, conf.Namespace(), conf.Domain(), want)
		}
	}
}

func TestOptionsOfResolvConf(t *testing.T) {
	conf := ParseResolvConf(ofAPod +
		"options timeout:3 attempts:4 rotate use-vc single-request-reopen no-aaaa trust-ad no-reload edns0 no-tld-query\n" +
		"options inet6 no-check-names inet6\nsortlist 10.0.0.0/8\n")
	want := ResolvConf{
		Servers: []netip.Addr{netip.MustParseAddr("10.96.0.10")},
		Search:  []string{"kiada.svc.cluster.local", "svc.cluster.local", "cluster.local"},
		NDots:   5, NoTLDQuery: true, Timeout: 3 * time.Second, Attempts: 4,
		Rotate: true, UseVC: true, SingleRequest: true, NoAAAA: true, TrustAD: true, NoReload: true,
		Ignored: []string{"inet6", "no-check-names", "sortlist"},
	}
	if !slices.Equal(conf.Ignored, want.Ignored) {
		t.Errorf("ignored %q", conf.Ignored)
	}
	if !slices.Equal(conf.Servers, want.Servers) || !slices.Equal(conf.Search, want.Search) {
		t.Errorf("servers %v, search %v", conf.Servers, conf.Search)
	}
	if conf.NDots != want.NDots || conf.Timeout != want.Timeout || conf.Attempts != want.Attempts ||
		!conf.Rotate || !conf.UseVC || !conf.SingleRequest || !conf.NoAAAA || !conf.TrustAD || !conf.NoReload || !conf.NoTLDQuery {
		t.Errorf("got %+v", conf)
	}

	bounded := ParseResolvConf("options ndots:99 timeout:0 attempts:1000 ndots:x timeout attempts:-1\n")
	if bounded.NDots != 15 || bounded.Timeout != time.Second || bounded.Attempts != 5 {
		t.Errorf("out of bounds: %+v", bounded)
	}
}

func TestTheEnvironmentGoesBeforeResolvConf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(ofAPod), 0o600); err != nil {
		t.Fatal(err)
	}
	// The order of the names is that in which glibc 2.36 asks for a.b with these.
	for _, tt := range []struct {
		environment       map[string]string
		names             string
		namespace, domain string
	}{
		{nil, "a.b.kiada.svc.cluster.local. a.b.svc.cluster.local. a.b.cluster.local. a.b.", "kiada", "cluster.local"},
		{map[string]string{"RES_OPTIONS": "ndots:1"}, "a.b. a.b.kiada.svc.cluster.local. a.b.svc.cluster.local. a.b.cluster.local.", "kiada", "cluster.local"},
		{map[string]string{"LOCALDOMAIN": ""}, "a.b.", "kiada", "cluster.local"},
		{map[string]string{"LOCALDOMAIN": "office.example"}, "a.b.office.example. a.b.", "kiada", "cluster.local"},
		{map[string]string{"LOCALDOMAIN": "dev.svc.cluster.local Office.example.\nnonsense"}, "a.b.dev.svc.cluster.local. a.b.office.example. a.b.", "dev", "cluster.local"},
	} {
		t.Run(tt.names, func(t *testing.T) {
			for name, value := range tt.environment {
				t.Setenv(name, value)
			}
			conf, err := ReadResolvConf(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(conf.Names("a.b"), " "); got != tt.names {
				t.Errorf("names %s", got)
			}
			if conf.Namespace() != tt.namespace || conf.Domain() != tt.domain {
				t.Errorf("namespace %q, domain %q", conf.Namespace(), conf.Domain())
			}
		})
	}

	t.Setenv("RES_OPTIONS", " use-vc\ttimeout:3 ndots:99 debug timeout:x ")
	t.Setenv("HOSTALIASES", "/etc/aliases")
	conf, err := ReadResolvConf(file)
	if err != nil {
		t.Fatal(err)
	}
	if !conf.UseVC || conf.Timeout != 3*time.Second || conf.NDots != maxNDots || !slices.Equal(conf.Ignored, []string{"debug", "HOSTALIASES"}) {
		t.Errorf("got %+v", conf)
	}
}

func TestNamesAreTriedInTheOrderOfTheSearchPath(t *testing.T) {
	conf := ParseResolvConf(ofAPod)
	for name, want := range map[string]string{
		"quiz-0.quiz-pods": "quiz-0.quiz-pods.kiada.svc.cluster.local. quiz-0.quiz-pods.svc.cluster.local. quiz-0.quiz-pods.cluster.local. quiz-0.quiz-pods.",
		"a.b.c.d.e.f":      "a.b.c.d.e.f. a.b.c.d.e.f.kiada.svc.cluster.local. a.b.c.d.e.f.svc.cluster.local. a.b.c.d.e.f.cluster.local.",
		"api.dev.":         "api.dev.",
	} {
		if got := strings.Join(conf.Names(name), " "); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestHostsAreFoundAsTheyAreWritten(t *testing.T) {
	table := ParseHosts("127.0.0.1 localhost\n# a comment\n10.0.0.1\tQuiz.Kiada quiz-alias # 10.0.0.9 no\n" +
		"::1 quiz.kiada.\n10.0.0.1 quiz.kiada\nnonsense quiz.kiada\n10.0.0.2\nfe80::1%eth0 router\n")
	want := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.IPv6Loopback()}
	if got := table["quiz.kiada"]; !slices.Equal(got, want) {
		t.Errorf("quiz.kiada is at %v, want %v", got, want)
	}
	for name, found := range map[string]bool{"quiz-alias": true, "router": true, "quiz": false, "no": false, "nonsense": false, "quiz.kiada.svc": false} {
		if (len(table[name]) > 0) != found {
			t.Errorf("%s is at %v", name, table[name])
		}
	}
}

func TestAHostsFileIsReadAgainWhenItChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	synctest.Test(t, func(t *testing.T) {
		hosts := NewHosts(file)
		if got := hosts.Lookup("quiz"); got != nil {
			t.Errorf("without a file: %v", got)
		}
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("10.0.0.1 quiz\n")
		time.Sleep(hostsAgain) // of virtual time
		if got := hosts.Lookup("QUIZ."); len(got) != 1 {
			t.Errorf("with a file: %v", got)
		}
		write("10.0.0.1 quiz\n10.0.0.2 quiz\n")
		if got := hosts.Lookup("quiz"); len(got) != 1 {
			t.Errorf("at once: %v, want what was read", got)
		}
		time.Sleep(hostsAgain) // of virtual time
		if got := hosts.Lookup("quiz"); len(got) != 2 {
			t.Errorf("after the change: %v", got)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(hostsAgain) // of virtual time
		if got := hosts.Lookup("quiz"); got != nil {
			t.Errorf("after its end: %v", got)
		}
	})
}

func TestALookUpInHostsAllocatesNothing(t *testing.T) {
	hosts := NewHosts(filepath.Join(t.TempDir(), "hosts"))
	hosts.Lookup("quiz.kiada")
	if n := testing.AllocsPerRun(100, func() { hosts.Lookup("quiz.kiada") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzResolvConf(f *testing.F) {
	f.Add(ofAPod, "quiz-0.quiz-pods", "", "")
	f.Add("; nothing\n# at all\n", "quiz", "ndots:1 use-vc", "dev.svc.cluster.local")
	f.Add("nameserver fe80::1%eth0\nnameserver example.com\ndomain SVC.Example.\nsearch svc. .svc.\noptions ndots:0 timeout:99999999999\n", "a.b.c", "timeout:", ".\n")
	f.Fuzz(func(t *testing.T, text, name, options, path string) {
		conf := ParseResolvConf(text)
		conf.environment(func(name string) (string, bool) {
			return map[string]string{"RES_OPTIONS": options, "LOCALDOMAIN": path}[name], path != "" || name != "LOCALDOMAIN"
		})
		if len(conf.Servers) > maxServers || conf.NDots < 0 || conf.NDots > maxNDots || conf.Timeout < 0 || conf.Timeout > maxTimeout*time.Second ||
			conf.Attempts < 0 || conf.Attempts > maxAttempts || len(conf.Ignored) > maxIgnored {
			t.Errorf("out of bounds: %+v", conf)
		}
		for _, s := range conf.Search {
			if !IsDomain(s) {
				t.Errorf("search %q", s)
			}
		}
		if n := conf.Namespace(); n != "" && !IsLabel(n) {
			t.Errorf("namespace %q", n)
		}
		if d := conf.Domain(); d != "" && !IsDomain(d) {
			t.Errorf("domain %q", d)
		}
		names := conf.Names(name)
		if !slices.Contains(names, strings.TrimSuffix(name, ".")+".") && (!conf.NoTLDQuery || strings.Contains(name, ".")) {
			t.Errorf("%q is not among %q", name, names)
		}
		for _, n := range names {
			if !strings.HasPrefix(n, strings.TrimSuffix(name, ".")+".") || !strings.HasSuffix(n, ".") {
				t.Errorf("%q became %q", name, n)
			}
		}
	})
}

func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost\n10.0.0.1\tquiz.kiada quiz # comment\n", "quiz.kiada", "10.0.0.7")
	f.Add("::1 a.\n# 10.0.0.1 b\n10.0.0.1\n", "b", "::2")
	f.Fuzz(func(t *testing.T, text, name, addr string) {
		for known, addrs := range ParseHosts(text) {
			if known == "" || len(addrs) == 0 || strings.ContainsAny(known, " \t\n#") {
				t.Errorf("name %q at %v", known, addrs)
			}
		}
		parsed, err := netip.ParseAddr(addr)
		if err != nil || !IsDomain(name) || strings.ContainsAny(addr, " \t\r\n\v\f#\u0085\u00a0") || len(strings.Fields(addr)) != 1 {
			return
		}
		table := ParseHosts(text + "\n" + addr + " " + name + "\n")
		if !slices.Contains(table[name], parsed.Unmap()) {
			t.Errorf("%q is not found at %s", name, addr)
		}
	})
}
