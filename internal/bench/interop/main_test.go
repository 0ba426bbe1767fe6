//go:build linux

package interop

import (
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // of the events, those that matter are in the tests' output
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if modules.dir != "" {
			os.RemoveAll(modules.dir)
		}
		os.Exit(code)
	}))
}

// distances are how far away the clients are, each way.
var distances = []time.Duration{0, time.Millisecond, 20 * time.Millisecond}

// rounds is how often each pod is reloaded or stopped in a test.
func rounds(t *testing.T) int {
	text := os.Getenv("SIDESTEP_INTEROP_ROUNDS")
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SIDESTEP_INTEROP_ROUNDS=%q is not a positive number", text)
	}
	return n
}

// installed returns the path of a program, or skips the test. Servers are in
// folders that are not in every user's PATH.
func installed(t *testing.T, program, debianPackage string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program, "/usr/local/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed (apt-get install %s)", program, debianPackage)
	return ""
}
