package httpbalancer_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// distant returns a pod that is a pod some way off: whatever either side says or
// does reaches the other that much later. On loopback nothing is ever on its way
// when a server stops.
func distant(t testing.TB, pod *server, distance time.Duration) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pod.RegisterOnShutdown(func() { l.Close() }) // or it would accept what the pod does not
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	track := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		open[c] = true
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			track(near)
			all.Go(func() {
				defer near.Close()
				far, err := net.Dial("tcp", pod.addr)
				if err != nil {
					abort(near.(*net.TCPConn))
					return
				}
				track(far)
				defer far.Close()
				var both sync.WaitGroup
				both.Go(func() { carry(far, near, distance) })
				both.Go(func() { carry(near, far, distance) })
				both.Wait()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return &server{name: pod.name, addr: l.Addr().String()}
}

// carry takes what src says to dst, later.
func carry(dst, src net.Conn, distance time.Duration) {
	type parcel struct {
		due  time.Time
		data []byte
	}
	parcels := make(chan parcel, 10_000)
	go func() {
		defer close(parcels)
		for {
			buf := make([]byte, 16<<10)
			n, err := src.Read(buf)
			parcels <- parcel{time.Now().Add(distance), buf[:n]}
			if err != nil {
				return
			}
		}
	}()
	for p := range parcels {
		<-time.After(time.Until(p.due))
		if _, err := dst.Write(p.data); err != nil {
			src.Close()
		}
	}
	dst.(*net.TCPConn).CloseWrite()
}

// A rolling restart is one Shutdown after the other, with the endpoints published a
// little later, while all that callers do are POSTs that cannot be made anew.
func TestPostsOnTheirWayToAPodThatShutsDownAreServedByAnother(t *testing.T) {
	for _, distance := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
		t.Run(fmt.Sprint(distance), func(t *testing.T) {
			var seen tally
			handler := func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				seen.add(string(body))
				w.Write(body)
			}
			near, far := make([]*server, 3), make([]*server, 3)
			for i := range near {
				near[i] = startWith(t, "old", handler, h2c())
				far[i] = distant(t, near[i], distance)
			}
			s := serving(far...)
			transport := newTransport(t, httpbalancer.Config{Source: s, Protocols: h2c()})
			client := &http.Client{Transport: transport}
			ctx, stop := context.WithCancel(t.Context())
			var load sync.WaitGroup
			for worker := range 8 {
				load.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						id := fmt.Sprintf("%d of %d", i, worker)
						if got := read(t)(client.Post("http://quiz.kiada/", "", onceBody(id))); got != id {
							t.Errorf("answer %q, want %q", got, id)
						}
					}
				})
			}
			for i := range near {
				old := near[i]
				<-time.After(50 * time.Millisecond) // of load
				near[i] = startWith(t, "new", handler, h2c())
				far[i] = distant(t, near[i], distance)
				stopped := make(chan error)
				go func() { stopped <- old.Shutdown(t.Context()) }()
				<-time.After(10 * time.Millisecond) // the pod stops before anybody is told
				s.publish(far...)
				if err := <-stopped; err != nil {
					t.Error(err)
				}
			}
			stop()
			load.Wait()
			seen.mustHaveNoDoubles(t)
			for _, st := range balancer.Statuses() {
				if n := st.Counts.Ejections; len(n) > 0 {
					for cause, n := range n {
						if n > 0 {
							t.Errorf("%d ejections for %v", n, cause)
						}
					}
				}
			}
		})
	}
}
