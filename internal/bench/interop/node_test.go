//go:build linux

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// newNode starts a script of testdata/node, which gets the port as its first
// argument. To disturb the pod is to stop its server and to start another.
func newNode(t *testing.T, script, modules string, args ...string) *pod {
	t.Helper()
	node := installed(t, "node", "nodejs")
	script, err := filepath.Abs(filepath.Join("testdata/node", script))
	if err != nil {
		t.Fatal(err)
	}
	dir, addr := t.TempDir(), freeAddr(t)
	if modules != "" { // where the script finds them
		copyFile(t, script, filepath.Join(modules, filepath.Base(script)))
		script = filepath.Join(modules, filepath.Base(script))
	}
	_, port := splitAddr(t, addr)
	p := start(t, dir, node, append([]string{script, port}, args...)...)
	p.listening(addr)
	listened := 1
	return &pod{addr: addr, disturb: func(gone, back func()) {
		gone()
		p.signal(syscall.SIGHUP)
		listened++
		p.says("listening", listened)
		back()
	}}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// At server.close it closes its idle connections, and the others after their
// next answer.
func TestNodeCloseHTTP1(t *testing.T) {
	h := httpTest{pods: []*pod{newNode(t, "http.js", "", "5000"), newNode(t, "http.js", "", "5000")}, postsMayFail: true}
	h.run(t)
}

// At session.close it sends GOAWAY with the last stream that it has seen.
func TestNodeCloseHTTP2(t *testing.T) {
	h := httpTest{pods: []*pod{newNode(t, "http2.js", ""), newNode(t, "http2.js", "")}, h2c: true}
	h.run(t)
}

// Node.js announces its keepAliveTimeout with each answer, "Keep-Alive: timeout=1",
// and closes a connection that has been idle for a second more.
func TestNodeKeepAliveTimeout(t *testing.T) {
	aimAtIdleTimeout(t, []*pod{newNode(t, "http.js", "", "1000"), newNode(t, "http.js", "", "1000")}, 2*time.Second)
}

var modules struct {
	once sync.Once
	dir  string
	err  error
}

// nodeModules returns a folder with the packages of testdata/node/package.json,
// which npm installs once, or skips the test.
func nodeModules(t *testing.T) string {
	t.Helper()
	installed(t, "node", "nodejs")
	npm := installed(t, "npm", "npm")
	modules.once.Do(func() {
		modules.dir, modules.err = os.MkdirTemp("", "interop")
		if modules.err != nil {
			return
		}
		for _, name := range []string{"package.json", "package-lock.json"} {
			copyFile(t, filepath.Join("testdata/node", name), filepath.Join(modules.dir, name))
		}
		cmd := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		cmd.Dir = modules.dir
		if output, err := cmd.CombinedOutput(); err != nil {
			modules.err = fmt.Errorf("%w: %s", err, output)
		}
	})
	if modules.err != nil {
		t.Skipf("npm cannot install @grpc/grpc-js: %v", modules.err)
	}
	return modules.dir
}
