package dialbalancer_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
)

// Whatever a client hands to the dial function, it is dialed as it is unless it names
// the Service or a pod.
func FuzzAddress(f *testing.F) {
	for _, address := range []string{"redis.shop:6379", "10.0.0.1:6379", "[::1]:6379", "[fe80::1%eth0]:6379", "redis.shop.svc.cluster.local.:1", ":", "", "a,b:1", "///:1"} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		c := newCluster()
		var dialed []string
		none := errors.New("none")
		d := newDialer(t, c, dialbalancer.Config{Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			dialed = append(dialed, address)
			return nil, none
		}})
		defer d.Close()
		_, err := d.DialContext(t.Context(), "tcp", address)
		if balanced := !errors.Is(err, none); balanced == (len(dialed) > 0) || !balanced && dialed[0] != address {
			t.Errorf("%q: dialed %q, got %v", address, dialed, err)
		}
	})
}
