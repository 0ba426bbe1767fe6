package dialbalancer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// In a pod, dialbalancer.Config{} is all there is to it. Here the API server is one
// for tests, and the pod a server on this machine that answers +PONG as Redis does.
func Example() {
	pod, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pod.Close()
	go func() {
		for {
			conn, err := pod.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "+PONG\r\n")
			conn.Close()
		}
	}()
	cluster := kubetest.Start()
	defer cluster.Close()
	addr := netip.MustParseAddrPort(pod.Addr().String())
	cluster.SetService(kubetest.ClusterIPService("shop", "redis", kubetest.Ports{"redis": 6379}))
	cluster.SetEndpointSlice(kubetest.Slice("shop", "redis", "redis-abc12", kubetest.Ports{"redis": int32(addr.Port())},
		kubetest.Ready(addr.Addr().String(), "redis-0")))
	config := dialbalancer.Config{
		Source: kube.New(kube.Config{Host: cluster.URL(), Client: cluster.Client(), AllowLocalAddresses: true}),
	}

	dialer, err := dialbalancer.New("k8s:///redis.shop:redis", config)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dialer.Close()
	conn, err := dialer.DialContext(context.Background(), "tcp", "redis.shop:6379")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		fmt.Println(err)
		return
	}
	own, _ := dialbalancer.ConnOf(conn)
	fmt.Printf("%q from %s\n", answer, own.Endpoint().Pod)
	// Output: "+PONG\r\n" from redis-0
}
