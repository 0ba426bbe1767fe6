package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// redisRate is how many commands each client sends in a second.
const redisRate = 500

// dialWays are the clients: go-redis over a dialbalancer, and as it is.
var dialWays = []string{"dial", "clusterip"}

// Redis has neither gRPC's nor HTTP's way to say goodbye: a command that is on its way
// to a pod that ends is lost, or sent again by the client. All others are not to notice.
func TestGoRedisThroughARolloutAndAScaleUp(t *testing.T) {
	c := needCluster(t)
	inDial := func(args ...string) []byte {
		t.Helper()
		out, err := c.kubectl("", append([]string{"-n", "dial"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if _, err := c.kubectl("", "delete", "namespace", "dial", "--ignore-not-found", "--timeout=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.kubectl("", "delete", "namespace", "dial", "--wait=false") })
	inDial("apply", "-f", "testdata/redis.yaml")
	inDial("rollout", "status", "deployment/redis", "--timeout=2m")
	c.startRedisClients(t)
	inDial("wait", "pods", "-l", "app=client", "--for=condition=Ready", "--timeout=60s")
	time.Sleep(warmUp)

	restarted := time.Now()
	inDial("rollout", "restart", "deployment/redis")
	inDial("rollout", "status", "deployment/redis", "--timeout=2m")
	time.Sleep(2 * time.Second)
	scaled := time.Now()
	inDial("scale", "deployment/redis", "--replicas=6")
	inDial("rollout", "status", "deployment/redis", "--timeout=2m")
	time.Sleep(10 * time.Second)
	shares := c.redisConnections(t)

	for _, via := range dialWays {
		var r result.Result
		if err := json.Unmarshal(inDial("get", "--raw", "/api/v1/namespaces/dial/pods/client-"+via+":8081/proxy/result"), &r); err != nil {
			t.Fatal(err)
		}
		served, _ := r.Between(scaled.Add(-time.Second), scaled)
		_, failed := r.Between(restarted, scaled)
		conns := shares[via]
		all := 0
		for _, n := range conns {
			all += n
		}
		largest := 0.0
		if all > 0 {
			largest = float64(slices.Max(slices.Collect(maps.Values(conns)))) * 6 / float64(all)
		}
		t.Logf("go-redis, %-9s %d commands, %d failed, %d of them in the rollout, which began with %v; %d connections 10 s after 3 to 6: %v, largest share %.2f of the mean; kinds %v",
			via, r.Requests, r.Failed, failed, served, all, conns, largest, r.Kinds)
		if via == "dial" {
			if r.Failed > 0 {
				t.Errorf("%d commands failed: %+v", r.Failed, r.Failures)
			}
			if all == 0 || largest > 1.3 {
				t.Errorf("10 s after a scale-up from 3 to 6 a pod has %.2f times the mean of %d connections: %v", largest, all, conns)
			}
		}
	}
}

// startRedisClients starts a client for each way.
func (c *cluster) startRedisClients(t *testing.T) {
	t.Helper()
	var pods []any
	for _, via := range dialWays {
		var p map[string]any
		if err := json.Unmarshal(c.clientTemplate, &p); err != nil {
			t.Fatal(err)
		}
		meta := p["metadata"].(map[string]any)
		meta["name"], meta["namespace"] = "client-"+via, "dial"
		container := p["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
		container["image"] = imageOf("goredis")
		container["args"] = []string{"-via=" + via, fmt.Sprintf("-rate=%d", redisRate), "-length=10m", "-listen=:8081"}
		pods = append(pods, p)
	}
	objects, err := list(pods)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.kubectl(objects, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// redisConnections asks each server how many connections each client has to it.
func (c *cluster) redisConnections(t *testing.T) map[string]map[string]int {
	t.Helper()
	out, err := c.kubectl("", "-n", "dial", "get", "pods", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var pods struct{ Items []pod }
	if err := json.Unmarshal(out, &pods); err != nil {
		t.Fatal(err)
	}
	names := make(map[string]string) // of clients, by address
	shares := make(map[string]map[string]int)
	for _, p := range pods.Items {
		if via, ok := strings.CutPrefix(p.Metadata.Name, "client-"); ok {
			names[p.Status.PodIP] = via
			shares[via] = make(map[string]int)
		}
	}
	for _, p := range pods.Items {
		if strings.HasPrefix(p.Metadata.Name, "redis-") {
			for client, n := range connectionsOf(t, p.Status.PodIP) {
				if via := names[client]; via != "" {
					shares[via][p.Metadata.Name] = n
				}
			}
		}
	}
	return shares
}

func connectionsOf(t *testing.T, ip string) (conns map[string]int) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip, "6379"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "*2\r\n$3\r\nGET\r\n$5\r\nconns\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	if _, err := answer.ReadString('\n'); err != nil { // its length
		t.Fatal(err)
	}
	line, err := answer.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(line), &conns); err != nil {
		t.Fatal(err)
	}
	return conns
}
