package e2e_test

import (
	"fmt"
	"strings"
	"testing"
)

// What the tests of this file's functions do to a pod, its node does: the pod
// itself and Kubernetes know nothing of it.

// needNode skips the test where there is no way to the node.
func needNode(t *testing.T) *cluster {
	t.Helper()
	c := needCluster(t)
	if c.node == "" {
		t.Skip("SIDESTEP_E2E_NODE is not set")
	}
	return c
}

// onNode runs a shell script as root on the node and returns what it prints.
func (c *cluster) onNode(t *testing.T, script string) string {
	t.Helper()
	out, err := command(c.node, "set -eu\n"+script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// rightOfWay gives the pods the processors before whatever else the machine
// does, so that their latencies are their own, and returns what takes it back.
func (c *cluster) rightOfWay(t *testing.T) (restore func()) {
	t.Helper()
	if c.node == "" {
		return func() {}
	}
	return c.undo(t, c.onNode(t, `
for file in $(find /sys/fs/cgroup -maxdepth 5 '(' -path '*/kubepods*/cpu.shares' -o -path '*/kubepods*/cpu.weight' ')' ! -path '*/kubepods*/*/*'); do
  now=$(cat "$file")
  echo "echo $now >$file"
  echo $((10 * now)) >"$file"
done`))
}

// processWith begins scripts: it sets pid to the process that has a variable
// in its environment.
func processWith(variable string) string {
	return fmt.Sprintf("pid=$(grep -lsxz '%s' /proc/[0-9]*/environ | head -1 | cut -d/ -f3)\n[ -n \"$pid\" ]\n", variable)
}

// serverOf does so for the process of the server in a pod.
func serverOf(pod string) string { return processWith("POD_NAME=" + pod) }

// freeze stops the process of the server: its connections stay, and its kernel
// accepts more, but nothing answers.
func (c *cluster) freeze(t *testing.T, pod string) (thaw func()) {
	t.Helper()
	c.onNode(t, serverOf(pod)+"kill -STOP $pid")
	return c.undo(t, serverOf(pod)+"kill -CONT $pid")
}

// kill ends the process of the server at once, as the kernel does when memory
// runs out. The kubelet starts it again in the same pod.
func (c *cluster) kill(t *testing.T, pod string) {
	t.Helper()
	c.onNode(t, serverOf(pod)+"kill -KILL $pid")
}

// silence drops all packets of a pod, both ways, but for those of its node. So
// its readiness probes still succeed, and it stays in the Service, as the pods
// of a node that is lost do for the better part of a minute.
func (c *cluster) silence(t *testing.T, pod string) (heal func()) {
	t.Helper()
	inside := serverOf(pod) + "inside() { nsenter --net=/proc/$pid/ns/net \"$@\"; }\n"
	c.onNode(t, inside+`
gateway=$(inside ip -4 route show default | cut -d' ' -f3)
inside nft -f - <<RULES
table inet sidestep {
  chain input { type filter hook input priority -300; ip saddr $gateway accept; drop; }
  chain output { type filter hook output priority -300; ip daddr $gateway accept; drop; }
}
RULES`)
	return c.undo(t, inside+"inside nft delete table inet sidestep")
}

// undo returns a function that runs a script once, and has it run at the end of
// the test if it was not called.
func (c *cluster) undo(t *testing.T, script string) func() {
	done := false
	undo := func() {
		if !done {
			done = true
			c.onNode(t, script)
		}
	}
	t.Cleanup(undo)
	return undo
}
