package dns_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

// The tests of this file state what a pod's own files mean for its look-ups.

const searchPath = "search kiada.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n"

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// inPod asks server with a resolv.conf of a pod of the namespace kiada.
func inPod(t *testing.T, server *dnstest.Server, options string) dns.Config {
	t.Helper()
	config := quick(server)
	config.Namespace, config.Domain = "", ""
	config.ResolvConf = write(t, "resolv.conf", searchPath+"options ndots:5 "+options+"\n")
	return config
}

func TestRelativeNamesOfPodsFollowTheSearchPath(t *testing.T) {
	const pod = "quiz-0.quiz-pods.kiada.svc.cluster.local"
	for target, want := range map[string]string{
		"quiz-0.quiz-pods":                         "10.0.0.7:80",
		"quiz-0.quiz-pods.kiada":                   "10.0.0.7:80",
		"quiz-0.quiz-pods.kiada.svc":               "10.0.0.7:80",
		"quiz-0.quiz-pods.kiada.svc.cluster.local": "10.0.0.7:80",
		"Quiz-0.Quiz-Pods":                         "10.0.0.7:80",
		pod + ".":                                  "10.0.0.7:80",
		"quiz-0.quiz-pods.":                        "", // absolute, and so what it says
		"quiz-0.quiz-pods.kiada.":                  "",
		"quiz-1.quiz-pods":                         "",
		"quiz-0.quiz-pods.svc.cluster.local":       "", // a Service's, all of it
	} {
		t.Run(target, func(t *testing.T) {
			server := startServer(t)
			server.SetA(pod, time.Minute, ips("10.0.0.7")...)
			config := inPod(t, server, "")
			snapshot := resolve(t, config, "headless:///"+target+":80")
			if want == "" {
				expect(t, snapshot)
				if !errors.Is(snapshot.Reason, discovery.ErrServiceNotFound) {
					t.Errorf("reason %v", snapshot.Reason)
				}
				return
			}
			expect(t, snapshot, want)
		})
	}
}

func TestAServiceGoesBeforeAPodOfThatName(t *testing.T) {
	server := startServer(t)
	server.SetA("quiz.shop.svc.cluster.local", time.Minute, ips("10.0.0.1", "10.0.0.2")...)
	server.SetA("quiz.shop.kiada.svc.cluster.local", time.Minute, ips("10.9.9.9")...)
	expect(t, resolve(t, inPod(t, server, ""), "headless:///quiz.shop:80"), "10.0.0.1:80", "10.0.0.2:80")
}

func TestAKubernetesTargetIsNeverAPod(t *testing.T) {
	server := startServer(t)
	server.SetA("quiz.shop.kiada.svc.cluster.local", time.Minute, ips("10.9.9.9")...)
	expect(t, resolve(t, inPod(t, server, ""), "k8s:///quiz.shop:80"))
}

func TestTheNameThatHadEndpointsIsAskedForFirst(t *testing.T) {
	const pod = "quiz-0.quiz-pods.kiada.svc.cluster.local"
	server := startServer(t)
	server.SetA(pod, time.Minute, ips("10.0.0.7")...)
	sub := watch(t, inPod(t, server, ""), "headless:///quiz-0.quiz-pods:80")
	serves(t, sub, "10.0.0.7:80")
	awaitQueries(t, server, pod, miekg.TypeA, 5)
	if n := server.Queries("quiz-0.quiz-pods.svc.cluster.local", miekg.TypeA); n != 1 {
		t.Errorf("%d queries for the Service that there is not, want 1", n)
	}
}

// A failure says nothing of the name, and the next one may be somebody else's.
func TestAFailureInTheClustersDomainEndsTheSearch(t *testing.T) {
	server := startServer(t)
	server.SetA("api.shop.dev", time.Minute, ips("192.0.2.66")...)
	server.Break(func(_ string, query, answer *miekg.Msg) []byte {
		if strings.HasSuffix(query.Question[0].Name, ".cluster.local.") {
			answer.SetRcode(query, miekg.RcodeServerFailure)
		}
		return pack(answer)
	})
	if err := resolveError(t, inPod(t, server, ""), "headless:///api.shop.dev:443"); !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("error %v", err)
	}
	expect(t, resolve(t, inPod(t, server, ""), "headless:///api.shop.dev.:443"), "192.0.2.66:443")
	// By ndots:1 the name as it is comes first.
	config := inPod(t, server, "ndots:1")
	expect(t, resolve(t, config, "headless:///api.shop.dev:443"), "192.0.2.66:443")
}

func TestWhereNothingTellsTheNamespaceANameWithoutOneIsAnError(t *testing.T) {
	server := startServer(t)
	server.SetA("quiz.default.svc.cluster.local", time.Minute, ips("10.9.9.9")...)
	config := quick(server)
	config.Namespace, config.Domain = "", ""
	config.ResolvConf = write(t, "resolv.conf", "nameserver 10.96.0.10\nsearch office.example\n")
	if _, err := os.Stat("/var/run/secrets/kubernetes.io/serviceaccount/namespace"); err == nil {
		t.Skip("in a pod that has a service account")
	}
	for _, target := range []string{"headless:///quiz:80", "k8s:///quiz:80"} {
		_, err := discovery.Resolve(t.Context(), dns.New(config), parse(t, target))
		if !errors.Is(err, discovery.ErrUnavailable) || !strings.Contains(err.Error(), "quiz.NAMESPACE") {
			t.Errorf("%s: error %v", target, err)
		}
	}
	if asked := server.Asked(); len(asked) > 0 {
		t.Errorf("asked for %v", asked)
	}
}

// spy notes the networks and flags of queries.
type spy struct {
	mu       sync.Mutex
	networks []string
	ad       []bool
	types    []uint16
}

func (s *spy) see(network string, query, answer *miekg.Msg) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.networks = append(s.networks, network)
	s.ad = append(s.ad, query.AuthenticatedData)
	s.types = append(s.types, query.Question[0].Qtype)
	return pack(answer)
}

func TestOptionsOfResolvConfAreObeyed(t *testing.T) {
	for option, check := range map[string]func(t *testing.T, s *spy){
		"use-vc": func(t *testing.T, s *spy) {
			if slices.Contains(s.networks, "udp") {
				t.Errorf("asked by %v", s.networks)
			}
		},
		"trust-ad": func(t *testing.T, s *spy) {
			if slices.Contains(s.ad, false) {
				t.Errorf("the AD bits: %v", s.ad)
			}
		},
		"edns0": func(t *testing.T, s *spy) {
			if slices.Contains(s.ad, true) || slices.Contains(s.networks, "tcp") {
				t.Errorf("AD %v by %v", s.ad, s.networks)
			}
		},
		"no-aaaa": func(t *testing.T, s *spy) {
			if slices.Contains(s.types, miekg.TypeAAAA) {
				t.Errorf("asked for the types %v", s.types)
			}
		},
	} {
		t.Run(option, func(t *testing.T) {
			server := startServer(t)
			server.SetA(host, time.Minute, ips("10.0.0.1", "10.0.0.2")...)
			s := new(spy)
			server.Break(s.see)
			expect(t, resolve(t, inPod(t, server, option), "headless:///quiz.kiada.svc:80"), "10.0.0.1:80", "10.0.0.2:80")
			expect(t, resolve(t, inPod(t, server, option), "headless:///nothing:80"))
			s.mu.Lock()
			defer s.mu.Unlock()
			check(t, s)
		})
	}
}

func TestSingleRequestAsksForOneTypeAfterTheOther(t *testing.T) {
	for _, option := range []string{"single-request", "single-request-reopen"} {
		server := startServer(t)
		server.SetA(host, time.Minute, ips("10.0.0.1", "10.0.0.2")...)
		expect(t, resolve(t, inPod(t, server, option), "headless:///quiz:80"), "10.0.0.1:80", "10.0.0.2:80")
		if n := server.Queries(host, miekg.TypeAAAA); n > 0 {
			t.Errorf("%s: %d queries for AAAA though there is an answer to A", option, n)
		}
		server.SetA(host, time.Minute, ips("2001:db8::1")...)
		expect(t, resolve(t, inPod(t, server, option), "headless:///quiz:80"), "[2001:db8::1]:80")
	}
}

func TestOptionsThatHaveNoEffectAreLoggedOnce(t *testing.T) {
	logged := captureLog(t)
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.0.0.1", "10.0.0.2")...)
	source := dns.New(inPod(t, server, "inet6 no-check-names edns0 rotate some-day:7 inet6"))
	for _, target := range []string{"headless:///quiz:80", "headless:///quiz:81"} {
		if _, err := discovery.Resolve(t.Context(), source, parse(t, target)); err != nil {
			t.Fatal(err)
		}
	}
	for option, want := range map[string]int{"inet6": 1, "no-check-names": 1, "some-day": 1, "edns0": 0, "rotate": 0, "ndots": 0} {
		if n := strings.Count(logged(), "option="+option+"\n"); n != want {
			t.Errorf("%s: logged %d times, want %d", option, n, want)
		}
	}
}

func TestAHeadlessNameOfTheHostsFileGoesWhereThatSays(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.0.0.1", "10.0.0.2")...)
	config := inPod(t, server, "")
	config.HostsFile = write(t, "hosts", "127.0.0.7 quiz\n::1 quiz\n10.7.7.7 db.example.com shop.kiada\n")
	for target, want := range map[string][]string{
		"headless:///quiz:80":              {"127.0.0.7:80"},
		"headless:///db.example.com:80":    {"10.7.7.7:80"},
		"headless:///db.example.com.:80":   nil, // absolute, as an ExternalName is that somebody else has written
		"headless:///shop.kiada:80":        {"10.7.7.7:80"},
		"headless:///quiz.kiada:80":        {"10.0.0.1:80", "10.0.0.2:80"},
		"headless:///" + host + ":80":      {"10.0.0.1:80", "10.0.0.2:80"},
		"headless:///quiz.kiada.svc:80":    {"10.0.0.1:80", "10.0.0.2:80"},
		"headless:///quiz:grpc":            nil,
		"headless:///shop.kiada.svc.a:443": nil,
	} {
		expect(t, resolve(t, config, target), want...)
	}
	if snapshot := resolve(t, config, "headless:///quiz:grpc"); !errors.Is(snapshot.Reason, discovery.ErrPortNotFound) {
		t.Errorf("a port that the file cannot know: %v", snapshot.Reason)
	}
}
