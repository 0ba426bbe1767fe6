package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"
)

// The scenes of this file are about a client's first request to each of five
// Services, whose names are written in different ways. Each Service has one pod,
// of the same name. In the namespace default there are Services of the same names,
// of a stranger: whoever is asked there is the wrong one.
const (
	places   = 5
	stranger = "stranger"
	// firstWithin is how long a first request may take.
	firstWithin = 1500 * time.Millisecond
	// knownWithin is for all but one of them: that somebody is silent has to be
	// found out once.
	knownWithin = 900 * time.Millisecond
)

// placeHosts are the names of the places, as a client in their namespace may write
// them.
var placeHosts = [places]string{
	"place-0",
	"place-1." + namespace,
	"place-2." + namespace + ".svc",
	"place-3." + namespace + ".svc.cluster.local",
	"place-4", // which is headless
}

func placeName(i int) string { return fmt.Sprintf("place-%d", i) }

// setPlaces sets the Services up and returns when their pods are ready.
func setPlaces(t *testing.T, c *cluster) {
	t.Helper()
	service := func(in, name, clusterIP string) map[string]any {
		port := func(name string, number int) any {
			return map[string]any{"name": name, "port": number, "targetPort": number}
		}
		spec := map[string]any{"clusterIP": clusterIP, "ports": []any{port("http", 8080), port("grpc", 9090)}}
		if in == namespace {
			spec["selector"] = map[string]any{"app": name}
		}
		return map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": name, "namespace": in}, "spec": spec}
	}
	t.Cleanup(func() {
		c.must(t, "", "delete", "pods", "-l", "app in (place-0, place-1, place-2, place-3, place-4, stranger)", "--grace-period=1", "--wait=false")
		for i := range places {
			for _, in := range []string{namespace, "default"} {
				if _, err := c.kubectl("", "-n", in, "delete", "service", placeName(i), "--ignore-not-found"); err != nil {
					t.Error(err)
				}
			}
		}
	})
	objects := []any{c.serverPod(t, stranger, stranger)}
	for i := range places {
		clusterIP := ""
		if i == 4 {
			clusterIP = "None"
		}
		objects = append(objects, c.serverPod(t, placeName(i), placeName(i)), service(namespace, placeName(i), clusterIP))
	}
	c.apply(t, objects...)
	c.must(t, "", "wait", "pods", "-l", "app in (place-0, place-1, place-2, place-3, place-4, stranger)", "--for=condition=Ready", "--timeout=60s")
	wrong := []any{}
	for i := range places {
		slice := manualSlice(placeName(i), stranger, []pod{c.pod(t, stranger)}).(map[string]any)
		slice["metadata"].(map[string]any)["namespace"] = "default"
		wrong = append(wrong, service("default", placeName(i), ""), slice)
	}
	text, err := list(wrong)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.kubectl(text, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// A firstRequest is what became of one.
type firstRequest struct {
	Pod   string
	Took  time.Duration
	Error string
}

// protocols are those of the first two ways, in their order.
var protocols = []string{"grpc", "http"}

// firstPods returns a pod of the program first for each protocol, which have asked
// nothing yet.
func firstPods(t *testing.T, c *cluster, kind string, edit func(spec map[string]any)) []any {
	t.Helper()
	var pods []any
	for _, protocol := range protocols {
		p := clientPod(t, c, way{title: kind + " " + protocol, program: "first"}, "client", rate)
		spec := p["spec"].(map[string]any)
		container := spec["containers"].([]any)[0].(map[string]any)
		container["args"] = []any{"-listen=:8081"}
		container["env"] = append(container["env"].([]any), map[string]any{"name": "CLIENT", "value": firstName(kind, protocol)})
		container["readinessProbe"] = map[string]any{"httpGet": map[string]any{"path": "/alive", "port": 8081}, "periodSeconds": 1}
		edit(spec)
		pods = append(pods, p)
	}
	return pods
}

func firstName(kind, protocol string) string { return way{title: kind + " " + protocol}.podName() }

// askFirst has a pod make its first requests to all places, one after the other.
func askFirst(t *testing.T, c *cluster, kind, protocol string) [places]firstRequest {
	t.Helper()
	var found [places]firstRequest
	for i, host := range placeHosts {
		target := host + ":9090"
		if protocol == "http" {
			target = "http://" + host + ":8080/questions"
		}
		query := url.Values{"protocol": {protocol}, "target": {target}}
		path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8081/proxy/first?%s", namespace, firstName(kind, protocol), query.Encode())
		if err := json.Unmarshal(c.must(t, "", "get", "--raw", path), &found[i]); err != nil {
			t.Fatal(err)
		}
		t.Logf("%-14s %s %-34s %-10s %4d ms %s", kind, protocol, host, found[i].Pod, found[i].Took.Milliseconds(), found[i].Error)
	}
	return found
}

// showFirst adds the row of a kind of pod: how long the slowest of its first
// requests took, and how many were answered by another pod than wanted.
func showFirst(t *testing.T, scene, kind string, wanted [places]string, c *cluster) {
	t.Helper()
	var measures []measure
	for _, protocol := range protocols {
		slowest, late, wrong, failed := time.Duration(0), 0, 0, 0
		for i, r := range askFirst(t, c, kind, protocol) {
			slowest = max(slowest, r.Took)
			if r.Took > knownWithin {
				late++
			}
			switch {
			case r.Error != "":
				failed++
			case r.Pod != wanted[i]:
				wrong++
			}
		}
		measures = append(measures, within(slowest, firstWithin).and(failed, "failed").and(wrong, "at the wrong place").and(max(late-1, 0), "more that waited"))
	}
	theReport.add(t, scene+": slowest first request to five Services", "<= 1.5 s", ways[:len(protocols)], measures)
}

// asThemselves are the pods that the names lead to where no file says otherwise.
func asThemselves() (wanted [places]string) {
	for i := range wanted {
		wanted[i] = placeName(i)
	}
	return wanted
}

// A pod may have no token, names of its own in /etc/hosts, or a firewall before the
// API server that drops what it is sent. Its first request to a Service finds the
// right pod all the same, and soon.
func TestFirstRequestsFindTheRightPlaceInOddPods(t *testing.T) {
	c := needNode(t)
	c.scale(t, 3)
	setPlaces(t, c)
	t.Cleanup(func() { c.must(t, "", "delete", "pods", "-l", "app=client", "--ignore-not-found") })
	const plain, noToken, aliases, dropped = "first", "first no token", "first aliases", "first dropped"
	c.apply(t, firstPods(t, c, plain, func(map[string]any) {})...)
	c.apply(t, firstPods(t, c, noToken, func(spec map[string]any) { spec["automountServiceAccountToken"] = false })...)
	c.apply(t, firstPods(t, c, aliases, func(spec map[string]any) {
		spec["hostAliases"] = []any{map[string]any{"ip": c.pod(t, stranger).Status.PodIP, "hostnames": placeHosts[:2]}}
	})...)
	c.apply(t, firstPods(t, c, dropped, func(map[string]any) {})...)
	c.must(t, "", "wait", "pods", "-l", "app=client", "--for=condition=Ready", "--timeout=60s")
	for _, protocol := range protocols {
		c.dropToAPI(t, firstName(dropped, protocol))
	}

	showFirst(t, "any pod", plain, asThemselves(), c)
	showFirst(t, "no token", noToken, asThemselves(), c)
	wanted := asThemselves()
	wanted[0], wanted[1] = stranger, stranger // as they are written in the file
	showFirst(t, "hostAliases", aliases, wanted, c)
	showFirst(t, "packets to the API server dropped", dropped, asThemselves(), c)
}

// dropToAPI drops what a client sends to the API server, as a NetworkPolicy does,
// for as long as the client lives.
func (c *cluster) dropToAPI(t *testing.T, client string) {
	t.Helper()
	c.onNode(t, processWith("CLIENT="+client)+`
host=$(tr '\0' '\n' </proc/$pid/environ | sed -n 's/^KUBERNETES_SERVICE_HOST=//p')
case $host in *:*) family=ip6 ;; *) family=ip ;; esac
nsenter --net=/proc/$pid/ns/net nft -f - <<RULES
table inet sidestep {
  chain output { type filter hook output priority -300; $family daddr $host drop; }
}
RULES`)
}
