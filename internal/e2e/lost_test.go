package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// lostGrace is the time after which a client must have got over the loss of what
// tells it the endpoints.
const lostGrace = 5 * time.Second

// lostWays are those of the scenes of this file: Services with a cluster IP and
// headless ones, all read from the API server.
var lostWays = []way{
	ways[0],
	ways[1],
	{title: "gRPC k8s, headless", protocol: "grpc", via: "k8s", service: "quiz-pods", target: "%s.kiada:grpc"},
	{title: "HTTP k8s, headless", protocol: "http", via: "k8s", service: "quiz-pods", target: "http://%s.kiada:8080/questions"},
}

// addLost adds a row to the table for the Services with a cluster IP, and logs and
// judges that for the headless ones, which have no column there.
func addLost(t *testing.T, scene, target string, measures []measure) {
	t.Helper()
	theReport.add(t, scene, target, lostWays[:2], measures[:2])
	theReport.add(t, scene+", headless Service", target, ways[:2], measures[2:])
}

// That a token is no good any more is known to an API server when it is asked
// again: a watch goes on with the right that it began with. So the server restarts
// after the Secret that the token is bound to has gone. All pods are replaced while
// nobody tells the clients but DNS.
func TestARevokedTokenFailsNoRequestWhileAllPodsAreReplaced(t *testing.T) {
	c := needNode(t)
	if c.stopAPI == "" || c.startAPI == "" {
		t.Skip("SIDESTEP_E2E_APISERVER_STOP and SIDESTEP_E2E_APISERVER_START are not set")
	}
	c.scale(t, 3)
	t.Cleanup(func() { c.must(t, "", "delete", "secrets", "life-1", "client-token", "--ignore-not-found") })
	c.apply(t, secret("life-1", ""))
	token := c.tokenFor(t, "life-1")
	c.apply(t, secret("client-token", token))
	var pods []any
	for _, w := range lostWays {
		pods = append(pods, withTokenOf(clientPod(t, c, w, "client", rate), "client-token"))
	}
	load := runClients(t, c, lostWays, pods)

	c.must(t, "", "delete", "secret", "life-1")
	for _, line := range []string{c.stopAPI, c.startAPI} {
		if _, err := command(line); err != nil {
			t.Fatal(err)
		}
	}
	lost := time.Now()
	c.awaitAPI(t)
	if c.authenticates(t, token) {
		t.Fatal("the token is still good")
	}
	old := c.pods(t)
	c.must(t, "", "rollout", "restart", "deployment/quiz")
	c.must(t, "", "rollout", "status", "deployment/quiz", "--timeout=2m")
	c.settle()
	replaced := time.Now()
	time.Sleep(2 * time.Second)
	results := load.stop(t)
	explain(t, lostWays, results)
	for i, r := range results {
		for _, f := range r.Failures {
			t.Logf("%s: failed %.1f s after the loss: %s", lostWays[i].title, f.Sent.Sub(lost).Seconds(), f.Text)
		}
	}
	addLost(t, "token revoked, all pods replaced: failed after 5 s", "0", each(lostWays, results, func(_ way, r *result.Result) measure {
		_, failed := r.Between(lost.Add(lostGrace), r.Ended)
		used, _ := r.Between(replaced, r.Ended)
		stale := 0
		for _, p := range old {
			stale += used[p.Metadata.Name]
		}
		m := none(failed, fmt.Sprintf(" of %d (%d before)", r.Requests, r.Failed-failed))
		m.fatal = rate / 5 // what dials a pod that has gone before the refusals are enough may wait in vain
		return m.and(stale, "to old pods")
	}))
}

// For a minute, nobody answers what is asked of DNS: half of the time the servers
// are silent, then what is sent to them is refused. All pods are replaced meanwhile,
// and there are first requests, too.
func TestAMinuteWithoutDNSFailsNoRequestToKnownServices(t *testing.T) {
	c := needNode(t)
	c.scale(t, 3)
	setPlaces(t, c)
	const late = "first without DNS"
	var pods []any
	for _, w := range lostWays {
		p := clientPod(t, c, w, "client", rate)
		container := p["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
		container["env"] = append(container["env"].([]any), map[string]any{"name": "CLIENT", "value": w.podName()})
		pods = append(pods, p)
	}
	load := runClients(t, c, lostWays, append(pods, firstPods(t, c, late, func(map[string]any) {})...))

	began := time.Now()
	heal := c.freezeDNS(t)
	c.must(t, "", "rollout", "restart", "deployment/quiz")
	showFirst(t, "DNS silent", late, asThemselves(), c)
	c.must(t, "", "rollout", "status", "deployment/quiz", "--timeout=2m")
	time.Sleep(time.Until(began.Add(30 * time.Second)))
	for _, w := range lostWays {
		c.refuseDNS(t, w.podName())
	}
	heal()
	c.must(t, "", "rollout", "restart", "deployment/quiz")
	c.must(t, "", "rollout", "status", "deployment/quiz", "--timeout=2m")
	time.Sleep(time.Until(began.Add(time.Minute)))
	ended := time.Now()
	results := load.stop(t)
	explain(t, lostWays, results)
	addLost(t, "DNS down for a minute, all pods replaced twice: failed requests", "0", each(lostWays, results, func(_ way, r *result.Result) measure {
		_, failed := r.Between(began, ended)
		return none(failed, fmt.Sprintf(" of %d", r.Requests))
	}))
}

// freezeDNS stops the processes of CoreDNS, so that nothing is answered.
func (c *cluster) freezeDNS(t *testing.T) (thaw func()) {
	t.Helper()
	all := "pids=$(grep -lx coredns /proc/[0-9]*/comm | cut -d/ -f3)\n[ -n \"$pids\" ]\n"
	c.onNode(t, all+"kill -STOP $pids")
	return c.undo(t, all+"kill -CONT $pids")
}

// refuseDNS has what a client sends to its DNS servers refused, as where a Service
// has no endpoints, for as long as the client lives.
func (c *cluster) refuseDNS(t *testing.T, client string) {
	t.Helper()
	c.onNode(t, processWith("CLIENT="+client)+`
nsenter --net=/proc/$pid/ns/net nft -f - <<RULES
table inet sidestep {
  chain output { type filter hook output priority -300; meta l4proto { tcp, udp } th dport 53 reject; }
}
RULES`)
}
