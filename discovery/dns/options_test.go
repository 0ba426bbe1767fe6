package dns

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	miekg "github.com/miekg/dns"
)

// withOptions writes a resolv.conf with three servers.
func withOptions(t *testing.T, options string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	writeFile(t, file, "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\noptions "+options+"\n", 1)
	return file
}

func TestTimeoutAndAttemptsBoundALookUp(t *testing.T) {
	for _, tt := range []struct {
		options string
		config  Config
		rounds  int
		each    time.Duration
	}{
		{"timeout:1", Config{}, 1, time.Second},
		{"timeout:1 attempts:1", Config{}, 1, time.Second},
		{"timeout:1 attempts:2", Config{}, 2, time.Second},
		{"timeout:7", Config{Timeout: time.Second}, 1, time.Second},
		{"", Config{}, 1, 2 * time.Second},
	} {
		t.Run(tt.options, func(t *testing.T) {
			config := tt.config
			config.ResolvConf = withOptions(t, tt.options)
			synctest.Test(t, func(t *testing.T) {
				servers := newFleet(nil)
				inBubble(t, config, newWorld(nil), servers.exchange, func(w *world) {
					pass(time.Duration(3*tt.rounds)*tt.each - 1)
					if len(w.failed()) > 0 {
						t.Fatalf("failed early: %v", w.failed())
					}
					pass(1)
					if n := len(w.failed()); n != 1 {
						t.Errorf("%d failures after %d rounds of %v", n, tt.rounds, tt.each)
					}
					for server, n := range servers.counts() {
						if n != tt.rounds {
							t.Errorf("%s was asked %d times, want %d", server, n, tt.rounds)
						}
					}
				})
			})
		})
	}
}

func TestOptionsOfTheEnvironmentGoBeforeThoseOfTheFile(t *testing.T) {
	t.Setenv("RES_OPTIONS", "timeout:1")
	config := Config{ResolvConf: withOptions(t, "timeout:7")}
	synctest.Test(t, func(t *testing.T) {
		inBubble(t, config, newWorld(nil), newFleet(nil).exchange, func(w *world) {
			pass(3 * time.Second) // of three servers
			if n := len(w.failed()); n != 1 {
				t.Errorf("%d failures after 3 s", n)
			}
		})
	})
}

func TestRotateAsksTheServersInTurn(t *testing.T) {
	all := map[string]func(*miekg.Msg) (*miekg.Msg, error){
		"10.0.0.1": serving("10.1.0.1"), "10.0.0.2": serving("10.1.0.1"), "10.0.0.3": serving("10.1.0.1"),
	}
	config := Config{ResolvConf: withOptions(t, "rotate single-request"), MaxTTL: time.Second}
	synctest.Test(t, func(t *testing.T) {
		servers := newFleet(all)
		inBubble(t, config, newWorld(nil), servers.exchange, func(*world) {
			pass(time.Minute)
			counts := servers.counts()
			for server := range all {
				if n := counts[server]; n < 15 || n > 25 {
					t.Errorf("%s was asked %d times in a minute of one look-up a second", server, n)
				}
			}
		})
	})
}

func TestNoReloadKeepsWhatWasReadFirst(t *testing.T) {
	file := withOptions(t, "no-reload")
	synctest.Test(t, func(t *testing.T) {
		servers := newFleet(map[string]func(*miekg.Msg) (*miekg.Msg, error){"10.0.0.1": serving("10.1.0.1"), "10.0.0.9": serving("10.1.0.9")})
		inBubble(t, Config{ResolvConf: file, MaxTTL: time.Second}, newWorld(nil), servers.exchange, func(w *world) {
			pass(10 * time.Second)
			writeFile(t, file, "nameserver 10.0.0.9\n", 2)
			pass(time.Minute)
			if got := w.last().Endpoints[0].Addr.String(); !strings.HasPrefix(got, "10.1.0.1:") {
				t.Errorf("answered by another server: %s", got)
			}
		})
	})
}
