package dns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	miekg "github.com/miekg/dns"
)

// A fleet is DNS servers by address, in virtual time. One that is not in it
// never answers.
type fleet struct {
	mu    sync.Mutex
	alive map[string]func(query *miekg.Msg) (*miekg.Msg, error) // guarded by mu, as all that follows
	asked map[string]int                                        // for A
}

func newFleet(alive map[string]func(*miekg.Msg) (*miekg.Msg, error)) *fleet {
	return &fleet{alive: alive, asked: make(map[string]int)}
}

func (f *fleet) exchange(ctx context.Context, _, server string, query *miekg.Msg) (*miekg.Msg, error) {
	f.mu.Lock()
	host, _, _ := net.SplitHostPort(server)
	if query.Question[0].Qtype == miekg.TypeA {
		f.asked[host]++
	}
	answer := f.alive[host]
	f.mu.Unlock()
	switch {
	case answer == nil:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case query.Question[0].Qtype != miekg.TypeA:
		return noData(), nil
	}
	return answer(query)
}

func (f *fleet) set(host string, answer func(*miekg.Msg) (*miekg.Msg, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive[host] = answer
}

// counts returns how often each server has been asked for A since the last call.
func (f *fleet) counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := maps.Clone(f.asked)
	clear(f.asked)
	return counts
}

func serving(addr string) func(*miekg.Msg) (*miekg.Msg, error) {
	return func(*miekg.Msg) (*miekg.Msg, error) { return has(1, addr)() }
}

func failing(rcode int) func(*miekg.Msg) (*miekg.Msg, error) {
	return func(query *miekg.Msg) (*miekg.Msg, error) { return new(miekg.Msg).SetRcode(query, rcode), nil }
}

func TestADeadFirstServerCostsOneTimeoutInThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := newFleet(map[string]func(*miekg.Msg) (*miekg.Msg, error){"10.0.0.2": serving("10.1.0.1")})
		config := Config{Servers: []string{"10.0.0.1:53", "10.0.0.2:53"}, MaxTTL: time.Second}
		inBubble(t, config, newWorld(nil), servers.exchange, func(w *world) {
			pass(5 * time.Minute)
			counts := servers.counts()
			if n := counts["10.0.0.1"]; n < 9 || n > 11 {
				t.Errorf("the dead server has been asked %d times in five minutes, want 10", n)
			}
			if n := counts["10.0.0.2"]; n < 270 {
				t.Errorf("%d look-ups in five minutes, want one a second but for ten time-outs of 2s", n)
			}
			if len(w.failed()) > 0 {
				t.Errorf("failures: %v", w.failed())
			}
		})
	})
}

func TestTheFirstServerIsUsedAgainOnceItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := newFleet(map[string]func(*miekg.Msg) (*miekg.Msg, error){"10.0.0.2": serving("10.1.0.1")})
		config := Config{Servers: []string{"10.0.0.1:53", "10.0.0.2:53"}, MaxTTL: time.Second}
		inBubble(t, config, newWorld(nil), servers.exchange, func(w *world) {
			pass(10 * time.Second)
			servers.set("10.0.0.1", serving("10.1.0.2"))
			pass(30 * time.Second)
			if got := w.last().Endpoints[0].Addr.Addr().String(); got != "10.1.0.2" {
				t.Errorf("still the answer of the second server, %v", got)
			}
			servers.counts()
			pass(time.Minute)
			if n := servers.counts()["10.0.0.2"]; n > 0 {
				t.Errorf("the second server has been asked %d times more", n)
			}
		})
	})
}

func TestAStandInThatDiesLeavesTheTaskToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := newFleet(map[string]func(*miekg.Msg) (*miekg.Msg, error){"10.0.0.2": serving("10.1.0.2")})
		config := Config{Servers: []string{"10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"}, MaxTTL: time.Second}
		inBubble(t, config, newWorld(nil), servers.exchange, func(w *world) {
			pass(5 * time.Second)
			servers.set("10.0.0.2", nil)
			servers.set("10.0.0.3", serving("10.1.0.3"))
			pass(10 * time.Second)
			if got := w.last().Endpoints[0].Addr.Addr().String(); got != "10.1.0.3" {
				t.Errorf("got %v", got)
			}
			servers.counts()
			pass(10 * time.Second)
			if counts := servers.counts(); counts["10.0.0.1"]+counts["10.0.0.2"] > 0 {
				t.Errorf("the dead are asked: %v", counts)
			}
		})
	})
}

func TestAServerThatAnswersWithAFailureKeepsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := newFleet(map[string]func(*miekg.Msg) (*miekg.Msg, error){
			"10.0.0.1": failing(miekg.RcodeServerFailure), "10.0.0.2": serving("10.1.0.2"),
		})
		config := Config{Servers: []string{"10.0.0.1:53", "10.0.0.2:53"}, MaxTTL: time.Second}
		inBubble(t, config, newWorld(nil), servers.exchange, func(*world) {
			pass(10 * time.Second)
			if counts := servers.counts(); counts["10.0.0.1"] != counts["10.0.0.2"] {
				t.Errorf("queries %v, want as many to the first as to the second", counts)
			}
		})
	})
}

func TestALookUpAsAWholeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := Config{Timeout: 3 * time.Second}
		for i := range 10 {
			config.Servers = append(config.Servers, fmt.Sprintf("10.0.0.%d:53", i))
		}
		slow := func(ctx context.Context, _, _ string, _ *miekg.Msg) (*miekg.Msg, error) {
			ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Second, errors.New("connection refused"))
			defer cancel()
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		inBubble(t, config, newWorld(nil), slow, func(w *world) {
			pass(15*time.Second - 1)
			if len(w.failed()) > 0 {
				t.Fatalf("ended early: %v", w.failed())
			}
			pass(1)
			if len(w.failed()) != 1 || !strings.Contains(w.failed()[0].Error(), "the look-up has taken 15s") {
				t.Errorf("after five time-outs: %v", w.failed())
			}
		})
	})
}

func TestAServerThatFailsForAnotherReasonIsAskedWithEDNSAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		servers := newFleet(map[string]func(*miekg.Msg) (*miekg.Msg, error){"10.0.0.1": failing(miekg.RcodeFormatError)})
		inBubble(t, Config{Servers: []string{"10.0.0.1:53"}}, newWorld(nil), servers.exchange, func(w *world) {
			pass(time.Minute)
			if len(w.failed()) == 0 || len(w.updated()) > 0 {
				t.Errorf("failures %v, updates %v", w.failed(), w.updated())
			}
			servers.set("10.0.0.1", func(query *miekg.Msg) (*miekg.Msg, error) {
				if query.IsEdns0() == nil {
					t.Error("asked without EDNS0")
				}
				return has(1, "10.1.0.1")()
			})
			pass(time.Minute)
			if w.last() == nil {
				t.Error("not recovered")
			}
		})
	})
}

// writeFile writes text for whoever looks at the time and size of the file.
func writeFile(t *testing.T, file, text string, modified int64) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Unix(modified, 0), time.Unix(modified, 0)); err != nil {
		t.Fatal(err)
	}
}

func TestResolvConfIsReadAgainWhenItChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	writeFile(t, file, "nameserver 10.0.0.1\n", 1)
	synctest.Test(t, func(t *testing.T) {
		servers := newFleet(map[string]func(*miekg.Msg) (*miekg.Msg, error){
			"10.0.0.1": serving("10.1.0.1"), "10.0.0.2": serving("10.1.0.2"), "10.0.0.3": serving("10.1.0.3"),
		})
		inBubble(t, Config{ResolvConf: file, MaxTTL: time.Second}, newWorld(nil), servers.exchange, func(w *world) {
			pass(10 * time.Second)
			for i, server := range []string{"10.0.0.2", "10.0.0.3"} { // of the same size
				writeFile(t, file, "nameserver "+server+"\n", int64(i+2))
				pass(6 * time.Second) // no later than with the first look-up after 5s
				servers.counts()
				pass(6 * time.Second)
				if counts := servers.counts(); len(counts) != 1 || counts[server] == 0 {
					t.Errorf("asked %v, want %s alone", counts, server)
				}
			}
			writeFile(t, file, "nameserver 10.0.0.1 # and longer\n", 3)
			pass(6 * time.Second)
			if got := w.last().Endpoints[0].Addr.Addr().String(); got != "10.1.0.1" {
				t.Errorf("a file of another size and the same time: still %v", got)
			}
		})
	})
}

func TestABrokenResolvConfKeepsTheServersAndIsReportedOnce(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, file string){
		"gone":         func(t *testing.T, file string) { must(t, os.Remove(file)) },
		"half written": func(t *testing.T, file string) { writeFile(t, file, "search example.com\n", 2) },
		"empty":        func(t *testing.T, file string) { writeFile(t, file, "", 2) },
		"a directory":  func(t *testing.T, file string) { must(t, os.Remove(file)); must(t, os.Mkdir(file, fs.ModePerm)) },
	} {
		t.Run(name, func(t *testing.T) {
			logged := captureLog(t)
			file := filepath.Join(t.TempDir(), "resolv.conf")
			writeFile(t, file, "nameserver 10.0.0.1\n", 1)
			synctest.Test(t, func(t *testing.T) {
				servers := newFleet(map[string]func(*miekg.Msg) (*miekg.Msg, error){
					"10.0.0.1": serving("10.1.0.1"), "10.0.0.2": serving("10.1.0.2"),
				})
				inBubble(t, Config{ResolvConf: file, MaxTTL: time.Second}, newWorld(nil), servers.exchange, func(w *world) {
					pass(10 * time.Second)
					spoil(t, file)
					servers.counts()
					pass(time.Minute)
					if counts := servers.counts(); counts["10.0.0.1"] < 50 || len(counts) != 1 || len(w.failed()) > 0 {
						t.Errorf("asked %v, failures %v; want the old server and no failure", counts, w.failed())
					}
					if n := strings.Count(logged(), "level=WARN"); n != 1 || !strings.Contains(logged(), file) {
						t.Errorf("%d warnings, want 1 that names the file:\n%s", n, logged())
					}
					must(t, os.RemoveAll(file))
					writeFile(t, file, "nameserver 10.0.0.2\n", 1)
					pass(6 * time.Second)
					if got := w.last().Endpoints[0].Addr.Addr().String(); got != "10.1.0.2" {
						t.Errorf("with a good file again: %v", got)
					}
				})
			})
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// captureLog returns a function that returns what has been logged since.
func captureLog(t *testing.T) func() string {
	t.Helper()
	var text lockedText
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&text, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return text.String
}

// A lockedText takes what several goroutines write.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
