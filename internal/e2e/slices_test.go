package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

func TestEveryEndpointSliceCounts(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 6)
	pods := c.pods(t)
	manual := make([]way, len(ways))
	for i, w := range ways {
		manual[i] = w.in("manual")
	}
	c.apply(t, manualService("manual", ""), manualService("manual-pods", "None"))
	t.Cleanup(func() { c.must(t, "", "delete", "service", "manual", "manual-pods") })
	putSlices := func(name string, pods []pod) {
		c.apply(t, manualSlice("manual", name, pods), manualSlice("manual-pods", name, pods))
	}
	putSlices("a", pods[0:2])
	putSlices("b", pods[2:4])
	load := startLoad(t, c, "client", manual...)

	// look waits until the change must have reached everybody, then takes
	// note of a time in which it holds.
	type phase struct {
		name     string
		from, to time.Time
		pods     []pod
	}
	var phases []phase
	look := func(name string, pods ...pod) {
		c.settle()
		from := time.Now()
		time.Sleep(2 * time.Second)
		phases = append(phases, phase{name, from, time.Now(), pods})
	}
	look("two", pods[0:4]...)
	putSlices("c", pods[4:6])
	look("three", pods...)
	c.must(t, "", "delete", "endpointslice", "manual-b", "manual-pods-b")
	look("deleted", append(pods[0:2:2], pods[4:6]...)...)
	results := load.stop(t)
	explain(t, manual, results)

	theReport.add(t, "two slices, three, one deleted: all and only their endpoints", "yes", manual, each(manual, results, func(_ way, r *result.Result) measure {
		m := measure{text: "yes", judged: true}
		var problems []string
		for _, p := range phases {
			used, _ := r.Between(p.from, p.to)
			missing := 0
			for _, pod := range p.pods {
				if used[pod.Metadata.Name] == 0 {
					missing++
				}
				delete(used, pod.Metadata.Name)
			}
			if missing > 0 || len(used) > 0 {
				problems = append(problems, fmt.Sprintf("%s: %d missing, %d extra", p.name, missing, len(used)))
			}
		}
		if len(problems) > 0 {
			m.value, m.text = 1, "no ("+strings.Join(problems, "; ")+")"
		}
		return m.and(r.Failed, "failed")
	}))
}

// manualService is a Service without a selector: its slices are written by hand.
func manualService(name, clusterIP string) any {
	port := func(name string, port, target int) any {
		return map[string]any{"name": name, "port": port, "targetPort": target}
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec":     map[string]any{"clusterIP": clusterIP, "ports": []any{port("http", 80, 8080), port("grpc", 9090, 9090)}},
	}
}

func manualSlice(service, name string, pods []pod) any {
	var endpoints []any
	for _, p := range pods {
		endpoints = append(endpoints, map[string]any{
			"addresses":  []string{p.Status.PodIP},
			"conditions": map[string]any{"ready": true},
			"targetRef":  map[string]any{"kind": "Pod", "namespace": namespace, "name": p.Metadata.Name, "uid": p.Metadata.UID},
		})
	}
	return map[string]any{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata": map[string]any{
			"name": service + "-" + name, "namespace": namespace,
			"labels": map[string]any{"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "sidestep-e2e"},
		},
		"ports":     []any{map[string]any{"name": "http", "port": 8080}, map[string]any{"name": "grpc", "port": 9090}},
		"endpoints": endpoints,
	}
}
