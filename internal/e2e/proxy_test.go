package e2e_test

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// The proxy is HAProxy, in a container beside the client, as the sidecar that
// sidestep does without. It is that of this machine, if there is one.

// loadProxy loads an image of HAProxy and all that it links, and reports
// whether there is one to load.
func loadProxy() (bool, error) {
	binary, err := exec.LookPath("haproxy")
	if err != nil {
		log.Print("e2e: there is no haproxy on this machine: the table of net/http goes without it")
		return false, nil
	}
	linked, err := run(exec.Command("ldd", binary))
	if err != nil {
		return false, err
	}
	scratch, err := os.MkdirTemp("", "sidestep-e2e")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(scratch)
	// The loader is the entry point: an image holds its files in /, where
	// nothing would find it.
	var files []string
	for _, path := range append(regexp.MustCompile(`/\S+`).FindAllString(string(linked), -1), binary) {
		content, err := os.ReadFile(path)
		if err != nil {
			return false, err
		}
		file := filepath.Join(scratch, filepath.Base(path))
		if err := os.WriteFile(file, content, 0o755); err != nil {
			return false, err
		}
		if regexp.MustCompile(`^ld-`).MatchString(filepath.Base(path)) {
			files = append([]string{file}, files...)
		} else {
			files = append(files, file)
		}
	}
	return true, loadImage("haproxy", files...)
}

// proxyConfig is the object that holds HAProxy's configuration.
func proxyConfig() (any, error) {
	text, err := os.ReadFile("testdata/haproxy.cfg")
	return map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "haproxy", "namespace": namespace},
		"data":     map[string]any{"haproxy.cfg": string(text)},
	}, err
}

// addProxy adds HAProxy to the pod of a client, which starts when the proxy
// knows a pod.
func addProxy(spec map[string]any, name string) {
	client := spec["containers"].([]any)[0].(map[string]any)
	spec["volumes"] = []any{map[string]any{"name": "haproxy", "configMap": map[string]any{"name": "haproxy"}}}
	spec["initContainers"] = []any{map[string]any{
		"name": "haproxy", "image": imageOf("haproxy"), "imagePullPolicy": "Never",
		"restartPolicy":   "Always",
		"args":            []string{"--library-path", "/", "/haproxy", "-db", "-f", "/config/haproxy.cfg"},
		"env":             []any{map[string]any{"name": "PROXY_OF", "value": name}},
		"startupProbe":    map[string]any{"httpGet": map[string]any{"path": "/alive", "port": 8000}, "periodSeconds": 1, "failureThreshold": 30},
		"resources":       client["resources"],
		"securityContext": client["securityContext"],
		"volumeMounts":    []any{map[string]any{"name": "haproxy", "mountPath": "/config", "readOnly": true}},
	}}
}

// proxyCPU returns the processor time that the proxy of a client has used.
func (c *cluster) proxyCPU(t *testing.T, client string) time.Duration {
	t.Helper()
	out := c.onNode(t, processWith("PROXY_OF="+client)+"echo $(cut -d' ' -f14,15 /proc/$pid/stat) $(getconf CLK_TCK)")
	var user, system, perSecond int64
	if _, err := fmt.Sscan(out, &user, &system, &perSecond); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return time.Duration(user+system) * time.Second / time.Duration(perSecond)
}
