package httpbalancer_test

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

func request(t testing.TB, configure func(*http.Request)) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://quiz.kiada/", nil)
	if err != nil {
		t.Fatal(err)
	}
	configure(req)
	return req
}

func TestRequestsWithTheSameKeyGoToTheSamePod(t *testing.T) {
	for _, policy := range []string{balancer.RingHash, balancer.Maglev} {
		pods := []*server{start(t, "quiz-0", nil), start(t, "quiz-1", nil), start(t, "quiz-2", nil), start(t, "quiz-3", nil)}
		config := httpbalancer.Config{Source: serving(pods...), Balancer: balancer.Config{
			Policy: policy, HashKey: balancer.KeySource{Header: "x-user", Cookie: "session"},
		}}
		client := &http.Client{Transport: newTransport(t, config)}
		other := &http.Client{Transport: newTransport(t, config)}

		used := map[string]bool{}
		for i := range 20 {
			user := fmt.Sprint("user-", i)
			cookie := request(t, func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "session", Value: user}) })
			header := request(t, func(r *http.Request) {
				r.Header.Set("X-User", user)
				r.AddCookie(&http.Cookie{Name: "session", Value: "another"})
			})
			context := request(t, func(r *http.Request) { r.Header.Set("X-User", "another") })
			context = context.WithContext(balancer.WithKey(t.Context(), user))

			first := read(t)(client.Do(cookie))
			used[first] = true
			for name, again := range map[string]*http.Request{"cookie": cookie, "header": header, "context": context} {
				if got := read(t)(other.Do(again)); got != first {
					t.Fatalf("%s: %s went to %s by its %s, and to %s before", policy, user, got, name, first)
				}
			}
		}
		if len(used) != len(pods) {
			t.Errorf("%s: 20 users use %d of %d pods", policy, len(used), len(pods))
		}
	}
}

func TestARequestWithAKeyIsRepeatedOnAnotherPod(t *testing.T) {
	alive, dead := start(t, "quiz-0", nil), gone(t, "quiz-1")
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{
		Source: serving(alive, dead), Balancer: balancer.Config{Policy: balancer.RingHash},
	})}
	for i := range 20 {
		req := request(t, func(*http.Request) {})
		req = req.WithContext(balancer.WithKey(t.Context(), fmt.Sprint(i)))
		if got := read(t)(client.Do(req)); got != alive.name {
			t.Fatalf("answer of %q", got)
		}
	}
}

// Whatever stands in the headers, the request is sent.
func FuzzRequestsWithHostileKeysAreSent(f *testing.F) {
	f.Add("user-1", "session=a; theme=b")
	f.Add("", "session=\"a")
	f.Add(",", "session=; session=b;;;=")
	pod := start(f, "quiz-0", nil)
	client := &http.Client{Transport: newTransport(f, httpbalancer.Config{Source: serving(pod), Balancer: balancer.Config{
		Policy: balancer.Maglev, HashKey: balancer.KeySource{Header: "X-User", Cookie: "session"},
	}})}
	f.Fuzz(func(t *testing.T, user, cookies string) {
		req := request(t, func(r *http.Request) { r.Header = http.Header{"X-User": {user, user}, "Cookie": {cookies}} })
		resp, err := client.Do(req)
		if err != nil {
			return // net/http sends no such header
		}
		resp.Body.Close()
	})
}

func TestTheTransportSetsACookieThatKeepsACallerWithItsPod(t *testing.T) {
	pods := []*server{start(t, "quiz-0", nil), start(t, "quiz-1", nil), start(t, "quiz-2", nil), start(t, "quiz-3", nil)}
	transport := newTransport(t, httpbalancer.Config{
		Source:    serving(pods...),
		Balancer:  balancer.Config{Policy: balancer.RingHash, HashKey: balancer.KeySource{Cookie: "pod"}},
		SetCookie: &http.Cookie{Path: "/", HttpOnly: true, MaxAge: 3600},
	})
	used := map[string]bool{}
	for range 20 {
		jar, _ := cookiejar.New(nil)
		user := &http.Client{Transport: transport, Jar: jar}
		resp, err := user.Get("http://quiz.kiada/")
		first := read(t)(resp, err)
		if cookie := resp.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "pod=") || !strings.HasSuffix(cookie, "; Path=/; Max-Age=3600; HttpOnly") {
			t.Fatalf("Set-Cookie %q", cookie)
		}
		for range 5 {
			resp, err := user.Get("http://quiz.kiada/")
			if got := read(t)(resp, err); got != first {
				t.Fatalf("a user of %s went to %s", first, got)
			}
			if resp.Header.Get("Set-Cookie") != "" {
				t.Error("the cookie was set again")
			}
		}
		used[first] = true
	}
	if len(used) < 3 {
		t.Errorf("20 users use %d of 4 pods", len(used))
	}
}
