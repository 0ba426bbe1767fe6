package httpbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

func TestHostsReadAsServices(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"http://quiz", "k8s:///quiz:80"},
		{"http://quiz.kiada", "k8s:///quiz.kiada:80"},
		{"https://quiz.kiada/", "k8s:///quiz.kiada:443"},
		{"http://quiz.kiada:8080", "k8s:///quiz.kiada:8080"},
		{"http://Quiz.KIADA", "k8s:///quiz.kiada:80"},
		{"http://quiz.kiada.", ""}, // absolute, and so what it says
		{"http://api.dev.", ""},
		{"http://quiz.kiada.svc.", ""},
		{"http://quiz.kiada.svc", "k8s:///quiz.kiada:80"},
		{"http://quiz.kiada.svc.cluster.local", "k8s:///quiz.kiada.svc.cluster.local:80"},
		{"http://quiz.kiada.svc.cluster.local.:81", "k8s:///quiz.kiada.svc.cluster.local:81"},
		{"http://example.com", "k8s:///example.com:80"}, // as far as the name says
		{"http://www.example.com", ""},
		{"http://quiz.kiada.pod.cluster.local", ""},
		{"http://quiz.kiada.svc..local", ""},
		{"http://localhost:8080", ""},
		{"http://LOCALHOST", ""},
		{"http://quiz.localhost", ""},
		{"http://127.0.0.1:8080", ""},
		{"http://[::1]:8080", ""},
		{"http://[fe80::1%25eth0]", ""},
		{"http://quiz_1.kiada", ""},
		{"http://-quiz.kiada", ""},
		{"http://quiz.", ""},
		{"http://.kiada", ""},
		{"http://", ""},
		{"http://quiz.kiada:0", ""},
		{"http://quiz.kiada:70000", ""},
		{"ftp://quiz.kiada", ""},
		{"http://" + strings.Repeat("q", 64) + ".kiada", ""},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		target, ok := httpbalancer.ServiceTarget(u)
		if ok != (tt.want != "") || ok && target.String() != tt.want {
			t.Errorf("%s: %v, %v, want %q", tt.url, target, ok, tt.want)
		}
	}
}

func FuzzHostsThatReadAsServicesAreValidTargets(f *testing.F) {
	f.Add("quiz.kiada.svc.cluster.local:80")
	f.Add("Example.COM.")
	f.Fuzz(func(t *testing.T, host string) {
		target, ok := httpbalancer.ServiceTarget(&url.URL{Scheme: "http", Host: host})
		if !ok {
			return
		}
		if again, err := discovery.ParseTarget(target.String()); err != nil || again != target {
			t.Errorf("%q became %q, which reads as %v, %v", host, target, again, err)
		}
	})
}

// A recorder is a base transport's dialer that shows what went through the base.
func through(used *bool) *http.Transport {
	base := &http.Transport{}
	base.RegisterProtocol("http", roundTripper(func(req *http.Request) (*http.Response, error) {
		*used = true
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("base")), Request: req}, nil
	}))
	return base
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestOtherHostsGoThroughTheBaseAndAreNotWatched(t *testing.T) {
	for _, u := range []string{"http://www.example.com/", "http://127.0.0.1:1/", "http://localhost/", "http://[::1]/"} {
		var used bool
		transport := newTransport(t, httpbalancer.Config{Source: newSource(), Base: through(&used)})
		if got := get(t, &http.Client{Transport: transport}, u); got != "base" || !used {
			t.Errorf("%s: not through the base: %q", u, got)
		}
		if transport.Pools() != 0 {
			t.Errorf("%s is watched", u)
		}
	}
}

func TestAmbiguousHosts(t *testing.T) {
	unreachable := errors.New("API server: connection refused")
	notFound := discovery.NewSnapshot(nil)
	notFound.Reason = fmt.Errorf("example.com: %w", discovery.ErrServiceNotFound)
	for _, tt := range []struct {
		name string
		view discovery.View
		dns  bool
		err  error
		base bool
	}{
		{"the source knows no such Service", discovery.View{Snapshot: notFound}, true, nil, true},
		{"the Service has no pods", discovery.View{Snapshot: discovery.NewSnapshot(nil)}, false, discovery.ErrNoEndpoints, false},
		{"there is no cluster", discovery.View{Err: discovery.ErrUnavailable}, true, nil, true},
		{"the source refuses, DNS knows the Service", discovery.View{Err: discovery.ErrForbidden}, true, discovery.ErrForbidden, false},
		{"the source refuses, DNS knows no such Service", discovery.View{Err: discovery.ErrForbidden}, false, nil, true},
		{"the source is down, DNS knows no such Service", discovery.View{Err: unreachable}, false, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var used bool
			s := newSource()
			s.set(tt.view)
			transport := httpbalancer.NewWithLookup(httpbalancer.Config{Source: s, Base: through(&used)},
				func(context.Context, string) (bool, error) { return tt.dns, nil })
			closeAtEnd(t, transport)
			client := &http.Client{Transport: transport}

			if tt.err != nil {
				mustFail(t, tt.err)(client.Get("http://example.com/"))
			} else {
				get(t, client, "http://example.com/")
			}
			if used != tt.base {
				t.Errorf("through the base: %v, want %v", used, tt.base)
			}
		})
	}
}

// To DNS, a headless Service without ready pods looks like none at all.
func TestAServiceThatIsGoneDoesNotBecomeAnotherHost(t *testing.T) {
	var used bool
	s := serving(start(t, "quiz-0", nil))
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: s, Base: through(&used)})}
	get(t, client, "http://quiz.kiada/")

	gone := discovery.NewSnapshot(nil)
	gone.Reason = fmt.Errorf("quiz.kiada: %w", discovery.ErrServiceNotFound)
	s.set(discovery.View{Snapshot: gone})
	eventually(t, "the Service to be gone", func() bool {
		resp, err := client.Get("http://quiz.kiada/")
		if err == nil {
			resp.Body.Close()
		}
		return errors.Is(err, discovery.ErrServiceNotFound)
	})
	if used {
		t.Error("a request went through the base")
	}
}

func TestANameWithSvcIsAServiceWhateverTheSourceSays(t *testing.T) {
	var used bool
	s := newSource()
	s.fail(fmt.Errorf("not in a cluster: %w", discovery.ErrUnavailable))
	transport := newTransport(t, httpbalancer.Config{Source: s, Base: through(&used)})

	mustFail(t, discovery.ErrUnavailable)((&http.Client{Transport: transport}).Get("http://quiz.kiada.svc/"))
	if used {
		t.Error("the request went through the base")
	}
}

func TestTheInClusterSourceIsAskedOnlyAboutNamesThatDNSKnows(t *testing.T) {
	var used bool
	asked := map[string]int{}
	pod := start(t, "quiz-0", nil)
	transport := httpbalancer.NewWithLookup(httpbalancer.Config{Source: serving(pod), Base: through(&used)},
		func(_ context.Context, host string) (bool, error) {
			asked[host]++
			return host == "quiz.kiada", nil
		})
	transport.AskDNSFirst()
	closeAtEnd(t, transport)
	client := &http.Client{Transport: transport}

	for range 10 {
		if got := get(t, client, "http://Example.com/"); got != "base" {
			t.Errorf("example.com was served by %s", got)
		}
		if got := get(t, client, "http://quiz.kiada/"); got != "quiz-0" {
			t.Errorf("quiz.kiada was served by %s", got)
		}
	}
	if asked["example.com"] != 1 || asked["quiz.kiada"] != 1 {
		t.Errorf("DNS was asked %v, want once each", asked)
	}
	if transport.Pools() != 1 {
		t.Errorf("%d names are watched, want 1", transport.Pools())
	}
}

func TestOutsideAClusterTheDefaultLeavesAmbiguousHostsAlone(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	var used bool
	transport := newTransport(t, httpbalancer.Config{Base: through(&used)})
	client := &http.Client{Transport: transport}

	for _, host := range []string{"example.com", "intranet"} {
		if got := get(t, client, "http://"+host); got != "base" {
			t.Errorf("%s was served by %s", host, got)
		}
	}
	mustFail(t, discovery.ErrUnavailable)(client.Get("http://quiz.kiada.svc"))
}

func TestTargetSaysWhichRequestsGoToAService(t *testing.T) {
	pod := start(t, "quiz-0", nil)
	target := discovery.Target{Scheme: discovery.SchemeKubernetes, Service: "quiz", Port: discovery.Port{Name: "http"}}
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(pod),
		Target: func(u *url.URL) (discovery.Target, bool) { return target, u.Host == "www.example.com" },
	})

	if got := get(t, &http.Client{Transport: transport}, "http://www.example.com/"); got != "quiz-0" {
		t.Errorf("served by %q", got)
	}
}
