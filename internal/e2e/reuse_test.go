package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// The IP of a pod goes to a pod of another Service, on the same ports, and then
// to one of the first Service again, each at once.
func TestReusedIPIsTheOneThatItIsNow(t *testing.T) {
	c := needNode(t)
	c.scale(t, 3)
	t.Cleanup(func() { c.must(t, "", "delete", "pods", "first", "stranger", "second", "--ignore-not-found") })
	c.start(t, "first", "quiz")
	ip := netip.MustParseAddr(c.pod(t, "first").Status.PodIP)
	slices := watchSlices(t, c)
	load := startLoad(t, c, "client", ways...)

	c.must(t, "", "delete", "pod", "first")
	c.startAt(t, ip, "stranger", "other")
	time.Sleep(3 * time.Second)
	c.must(t, "", "delete", "pod", "stranger")
	began := time.Now()
	c.startAt(t, ip, "second", "quiz")
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "IP reused: requests to another Service's pod", "0, -", ways, each(ways, results, func(w way, r *result.Result) measure {
		m := none(r.Pods["stranger"].Requests, "")
		m.judged = !w.headless()
		return m.and(r.Failed, "failed")
	}))
	theReport.add(t, "IP reused by a pod of the Service: first request after ready", "<= 1 s, TTL + 1 s", ways, each(ways, results, func(w way, r *result.Result) measure {
		ready := slices.when(t, "second ready", w.service, began, podReady("second", true))
		served, ok := r.Pods["second"]
		if !ok {
			return within(never, c.limit(w, time.Second))
		}
		return within(served.First.Sub(ready), c.limit(w, time.Second))
	}))
}

// start starts one more pod of the server, with a label of its own choice, and
// returns when it is ready.
func (c *cluster) start(t *testing.T, name, app string) {
	t.Helper()
	c.apply(t, c.serverPod(t, name, app))
	c.must(t, "", "wait", "pod", name, "--for=condition=Ready", "--timeout=60s")
}

// serverPod is a pod of the server that the Deployment knows nothing of.
func (c *cluster) serverPod(t *testing.T, name, app string) any {
	t.Helper()
	var deployment struct {
		Spec struct{ Template struct{ Spec any } }
	}
	if err := json.Unmarshal(c.must(t, "", "get", "deployment", "quiz", "-o", "json"), &deployment); err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name, "namespace": namespace, "labels": map[string]any{"app": app}},
		"spec":     deployment.Spec.Template.Spec,
	}
}

// startAt does the same, and sees to it that the pod has an IP, which is free.
// It knows the plugin host-local, which gives out one IP after the other, and
// notes in a file which was the last. That some networks take half a minute to
// learn that an IP is elsewhere is not what is tested: everybody forgets where
// it was.
func (c *cluster) startAt(t *testing.T, ip netip.Addr, name, app string) {
	t.Helper()
	found := c.onNode(t, fmt.Sprintf(`
for file in $(find / /run -xdev \( -path /usr -o -path /proc -o -path /sys -o -name go -o -name go-build \) -prune -o -name last_reserved_ip.0 -print); do
  printf %%s %s >"$file" # without an end of line, or it is not read
  echo "$file"
done
for pid in $(lsns --type=net --noheadings --output=pid); do
  nsenter --net=/proc/$pid/ns/net ip neighbour flush to %s || true # the process may have ended
done`, ip.Prev(), ip))
	if found == "" {
		t.Skip("the node does not use the CNI plugin host-local")
	}
	c.start(t, name, app)
	if got := c.pod(t, name).Status.PodIP; got != ip.String() {
		t.Fatalf("%s has the IP %s, not %s", name, got, ip)
	}
}

// pod returns one pod.
func (c *cluster) pod(t *testing.T, name string) pod {
	t.Helper()
	var p pod
	if err := json.Unmarshal(c.must(t, "", "get", "pod", name, "-o", "json"), &p); err != nil {
		t.Fatal(err)
	}
	return p
}
