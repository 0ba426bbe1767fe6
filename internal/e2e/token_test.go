package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// The kubelet replaces a token before it ends, which takes minutes at the least.
// So that it takes seconds here, each token is bound to a Secret, and ends with
// that; and the pods have it from another Secret, which the kubelet replaces in
// the same manner. That a watch goes on with the right that it began with is the
// reason why the API server restarts in between: the clients have to ask again,
// the token that they had is refused, and the new one has been in the file for
// less than the minute after which they would look by themselves.
func TestTokenThatEndsFailsNoRequest(t *testing.T) {
	c := needNode(t)
	if c.stopAPI == "" || c.startAPI == "" {
		t.Skip("SIDESTEP_E2E_APISERVER_STOP and SIDESTEP_E2E_APISERVER_START are not set")
	}
	c.scale(t, 3)
	t.Cleanup(func() { c.must(t, "", "delete", "secrets", "life-1", "life-2", "client-token", "--ignore-not-found") })
	c.apply(t, secret("life-1", ""), secret("life-2", ""))
	first := c.tokenFor(t, "life-1")
	c.apply(t, secret("client-token", first))

	of := ways[:2:2]
	var pods []any
	for i := range of {
		of[i].via = "api" // DNS must not help out
		pods = append(pods, withTokenOf(clientPod(t, c, of[i], "client", rate), "client-token"))
	}
	load := runClients(t, c, of, pods)

	second := c.tokenFor(t, "life-2")
	c.apply(t, secret("client-token", second))
	c.must(t, "", "annotate", "pods", "-l", "app=client", "look=again") // or the kubelet takes a minute
	for _, w := range of {
		c.awaitToken(t, w.podName(), second)
	}
	c.must(t, "", "delete", "secret", "life-1")
	for _, line := range []string{c.stopAPI, c.startAPI} {
		if _, err := command(line); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitAPI(t)
	if c.authenticates(t, first) || !c.authenticates(t, second) {
		t.Fatal("the first token is still good, or the second is not")
	}

	slices := watchSlices(t, c)
	old := c.pods(t)
	changed := time.Now()
	c.scale(t, 4)
	come := without(c.pods(t), old)
	turned := time.Now()
	c.turn(t, old[0].Metadata.Name, url.Values{"ready": {"false"}})
	t.Cleanup(func() { c.turn(t, old[0].Metadata.Name, url.Values{"ready": {"true"}}) })
	slices.when(t, "pod not ready", "quiz", turned, podReady(old[0].Metadata.Name, false))
	time.Sleep(2 * time.Second)
	results := load.stop(t)
	explain(t, of, results)
	theReport.add(t, "token replaced, old one refused: first request to a new pod", "<= 1 s", of, each(of, results, func(w way, r *result.Result) measure {
		ready := slices.when(t, "a new pod", w.service, changed, podReady(come[0], true))
		served, ok := r.Pods[come[0]]
		if !ok {
			return within(never, time.Second)
		}
		return within(served.First.Sub(ready), time.Second).and(r.Failed, "failed")
	}))
	theReport.add(t, "token replaced, old one refused: last request to a pod not ready", "<= 0.2 s", of, each(of, results, func(w way, r *result.Result) measure {
		left := slices.when(t, "pod not ready", w.service, turned, podReady(old[0].Metadata.Name, false))
		return within(r.Pods[old[0].Metadata.Name].Last.Sub(left), 200*time.Millisecond)
	}))
}

func secret(name, token string) any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"metadata":   map[string]any{"name": name, "namespace": namespace},
		"stringData": map[string]any{"token": token},
	}
}

// tokenFor returns a token of the client that is good as long as a Secret is
// there.
func (c *cluster) tokenFor(t *testing.T, secret string) string {
	t.Helper()
	return strings.TrimSpace(string(c.must(t, "", "create", "token", "client", "--bound-object-kind=Secret", "--bound-object-name="+secret)))
}

// authenticates reports whether the API server accepts a token.
func (c *cluster) authenticates(t *testing.T, token string) bool {
	t.Helper()
	review := fmt.Sprintf(`{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": %q}}`, token)
	var answer struct{ Status struct{ Authenticated bool } }
	if err := json.Unmarshal(c.must(t, review, "create", "-o", "json", "-f", "-"), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Status.Authenticated
}

const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// withTokenOf gives a client's pod the token in a Secret in place of its own. A
// variable tells the process from others.
func withTokenOf(pod map[string]any, secret string) map[string]any {
	spec := pod["spec"].(map[string]any)
	spec["automountServiceAccountToken"] = false
	spec["volumes"] = []any{map[string]any{"name": "account", "projected": map[string]any{"sources": []any{
		map[string]any{"secret": map[string]any{"name": secret}},
		map[string]any{"configMap": map[string]any{"name": "kube-root-ca.crt"}},
		map[string]any{"downwardAPI": map[string]any{"items": []any{
			map[string]any{"path": "namespace", "fieldRef": map[string]any{"fieldPath": "metadata.namespace"}},
		}}},
	}}}}
	container := spec["containers"].([]any)[0].(map[string]any)
	container["volumeMounts"] = []any{map[string]any{"name": "account", "mountPath": accountDir, "readOnly": true}}
	name := pod["metadata"].(map[string]any)["name"]
	container["env"] = append(container["env"].([]any), map[string]any{"name": "CLIENT", "value": name})
	return pod
}

// awaitToken returns when the file of a client holds a token.
func (c *cluster) awaitToken(t *testing.T, client, token string) {
	t.Helper()
	script := processWith("CLIENT="+client) + "cat /proc/$pid/root" + accountDir + "/token"
	for deadline := time.Now().Add(2 * time.Minute); c.onNode(t, script) != token; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 2 minutes %s has still its old token", client)
		}
	}
}
