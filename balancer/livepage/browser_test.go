package livepage_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/balancer/livepage"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

var update = flag.Bool("update", false, "write the screenshot that the README shows")

// browse runs the page in headless Chromium until it has drawn for a while.
func browse(t *testing.T, url string, options ...string) string {
	t.Helper()
	path := os.Getenv("SIDESTEP_CHROMIUM")
	if path == "" {
		var err error
		if path, err = exec.LookPath("chromium"); err != nil {
			t.Skip("no browser: there is no chromium in PATH, nor does SIDESTEP_CHROMIUM name one")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-extensions", "--user-data-dir=" + t.TempDir(),
	}, append(options, url)...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return stdout.String()
}

// work keeps a Balancer busy until the test ends: each pod takes a time of its own,
// and one of them fails all its requests.
func work(t *testing.T, b *adapter.Balancer, latency func(e *discovery.Endpoint) time.Duration, fails string) {
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				p, err := b.Pick(adapter.Request{})
				if err != nil {
					continue
				}
				e := p.Backend().Endpoint()
				select {
				case <-time.After(latency(e)):
				case <-done:
				}
				o := health.Success
				if e.Pod == fails {
					o = health.Failure
				}
				p.Done(adapter.Result{Outcome: o})
			}
		})
	}
	t.Cleanup(func() {
		close(done)
		all.Wait()
	})
}

func TestThePageIsDrawnInABrowser(t *testing.T) {
	var list []discovery.Endpoint
	for i := range 5 {
		list = append(list, endpoint(i, string(rune('a'+i%2))))
	}
	leaving := endpoint(5, "a")
	leaving.Ready, leaving.Terminating = false, true
	watch(t, "k8s:///quiz.kiada:http", &fixed{snapshot: discovery.NewSnapshot(append(list, leaving))})
	watch(t, "headless:///shop-pods.kiada:grpc", &fixed{err: fmt.Errorf("shop-pods.kiada.svc.cluster.local. SRV: no answer within 2s")})
	b := newBalancer(t, "k8s:///quiz.kiada:http", balancer.Config{}, list[:4]...)
	for _, be := range b.Backends() {
		for range 5 * strings.Count(be.Endpoint().Pod, "quiz-3") {
			p := b.Take(be)
			p.Done(adapter.Result{Outcome: health.Failure})
		}
	}
	work(t, b, func(e *discovery.Endpoint) time.Duration {
		if e.Pod == "quiz-4" {
			return time.Hour // a newcomer that has not answered is joining for as long as Chromium needs
		}
		return time.Duration(1+e.Addr.Addr().As4()[3]) * time.Millisecond
	}, "quiz-3")
	<-time.After(2 * time.Second) // there is something to see
	b.Update(list)
	hacked := newBalancer(t, hostile, balancer.Config{Policy: balancer.RoundRobin}, endpoint(9, hostile))
	server := httptest.NewServer(livepage.Handler())
	t.Cleanup(server.Close)

	dom := browse(t, server.URL, "--virtual-time-budget=15000", "--dump-dom")
	for _, want := range []string{
		"k8s:///quiz.kiada:http", "http, adaptive", "quiz-0", "quiz-4", "zone", "requests/s", `class="state ejected"`, `class="state fit"`, `class="state joining"`, "consecutive_failures", // what the balancer does
		"5 of 6 endpoints used", "terminating", "SRV: no answer within 2s", // what discovery says
		"<polygon", "<polyline", // the charts
		"&lt;script&gt;document.title", // as text
		">live<",
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if strings.Contains(dom, "<title>hacked") || strings.Contains(dom, "<img") {
		t.Error("markup from outside was run")
	}
	hacked.Close()

	picture := filepath.Join(t.TempDir(), "page.png")
	browse(t, server.URL, "--virtual-time-budget=60000", "--window-size=1200,860", "--hide-scrollbars", "--screenshot="+picture)
	png, err := os.ReadFile(picture)
	if err != nil || !bytes.HasPrefix(png, []byte("\x89PNG")) || len(png) < 10_000 {
		t.Fatalf("a picture of %d bytes, %v", len(png), err)
	}
	if *update {
		if err := os.WriteFile("page.png", png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
