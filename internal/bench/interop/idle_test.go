//go:build linux

package interop

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// aimAtIdleTimeout sends POSTs at about the moment at which servers close the
// connections that have been idle for a time-out, which they announce with each
// answer. A client that heeds that loses nothing.
func aimAtIdleTimeout(t *testing.T, pods []*pod, timeout time.Duration) {
	const (
		aim     = 50 * time.Millisecond // before and after
		callers = 12
	)
	h := httpTest{pods: pods}
	var working sync.WaitGroup
	var clients [][2]*httpClient
	var ways []*way
	for _, distance := range distances {
		w := newWay(t, pods, distance)
		ways = append(ways, w)
		pair := [2]*httpClient{h.sidestep(t, w), h.transport(t, w)}
		clients = append(clients, pair)
		for _, c := range pair {
			for i := range callers {
				working.Go(func() {
					k := post
					if i%2 == 0 {
						k = oneShot
					}
					for range rounds(t) {
						c.tallies[k].add(c.ask(k))
						// The connection is idle for the client half a round trip longer than for
						// the server, and the request takes as long to get there.
						<-time.After(timeout - 2*distance - aim + rand.N(2*aim))
					}
					c.tallies[k].add(c.ask(k))
				})
			}
		}
	}
	working.Wait()
	for i, w := range ways {
		what := fmt.Sprintf("%v away", w.distance)
		ours, theirs := clients[i][0], clients[i][1]
		for _, k := range []kind{post, oneShot} {
			compare(t, fmt.Sprintf("%s: %v at the idle time-out", what, k), true, &ours.tallies[k], &theirs.tallies[k])
		}
		checkBalancer(t, w.target(), "http", what)
	}
}
