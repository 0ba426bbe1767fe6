package httpbalancer_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// secure serves HTTPS on connections of virtual time.
func secure(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) { serve(tls.Server(c, config)) }
}

// hangs accepts a connection and says nothing, like a process that is frozen.
func hangs(accepted *atomic.Int64) func(net.Conn) {
	return func(c net.Conn) {
		accepted.Add(1)
		defer c.Close()
		io.Copy(io.Discard, c)
	}
}

// A pod that accepts connections and does not shake hands is out until it does, and
// is tried less and less often. That goes for probes that only connect, too.
func TestAPodComesBackByTheStepsThatRequestsNeed(t *testing.T) {
	_, certified := tlsServer(t, nil)
	for name, probe := range map[string]*httpbalancer.Probe{"by itself": nil, "probed": {Timeout: 5 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				serverConfig := &tls.Config{Certificates: certified.TLS.Certificates}
				clientConfig := certified.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
				clientConfig.ServerName = "example.com"
				var n network
				var accepted atomic.Int64
				well := secure(serverConfig, web(nil))
				n.set("10.0.0.1:443", well)
				n.set("10.0.0.2:443", hangs(&accepted))
				transport := httpbalancer.New(httpbalancer.Config{
					Base:     &http.Transport{DialContext: n.dial, TLSClientConfig: clientConfig, TLSHandshakeTimeout: 2 * time.Second},
					Source:   at("10.0.0.1:443", "10.0.0.2:443"),
					Balancer: balancer.Config{Policy: balancer.RoundRobin}, Probe: probe,
				})
				defer transport.Close()
				client := &http.Client{Transport: transport}
				slow := 0
				for range 600 {
					began := time.Now()
					get(t, client, "https://quiz.kiada/")
					if time.Since(began) > time.Second {
						slow++
					}
					time.Sleep(100 * time.Millisecond) // of virtual time
				}
				if slow > 1 {
					t.Errorf("%d requests waited for a handshake that never came, want 1", slow)
				}
				if got := accepted.Load(); got > 20 {
					t.Errorf("%d connections within a minute", got)
				}
				n.set("10.0.0.2:443", well)
				time.Sleep(45 * time.Second) // of virtual time
				if transport.Fit() != 2 {
					t.Error("the pod is still out")
				}
			})
		})
	}
}

// The connection that shows that a pod is back is there for the next request.
func TestTheNextRequestUsesTheConnectionThatReachedThePod(t *testing.T) {
	for proto, protocols := range map[string]*http.Protocols{"HTTP/1": nil, "h2c": h2c()} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n network
				n.set("10.0.0.2:80", web(protocols))
				transport := virtual(at("10.0.0.1:80", "10.0.0.2:80"), &n, protocols)
				defer transport.Close()
				client := &http.Client{Transport: transport}
				for range 2 {
					get(t, client, "http://quiz.kiada/")
				}
				var made atomic.Int64
				serve := web(protocols)
				n.set("10.0.0.1:80", func(c net.Conn) { made.Add(1); serve(c) })
				time.Sleep(time.Minute) // of virtual time
				for range 4 {
					get(t, client, "http://quiz.kiada/")
				}
				if got := made.Load(); transport.Fit() != 2 || got != 1 {
					t.Errorf("%d pods are fit, and %d connections were made to the one that is back, want 1", transport.Fit(), got)
				}
			})
		})
	}
}

// A pod that accepts connections and breaks each of them as soon as there is a
// request comes back less and less often.
func TestAPodThatIsLostAgainAtOnceComesBackLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		var accepted atomic.Int64
		n.set("10.0.0.1:80", func(c net.Conn) {
			accepted.Add(1)
			c.Read(make([]byte, 10))
			c.Close()
		})
		n.set("10.0.0.2:80", web(nil))
		transport := virtual(at("10.0.0.1:80", "10.0.0.2:80"), &n, nil)
		defer transport.Close()
		for range 1000 {
			resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			time.Sleep(100 * time.Millisecond) // of virtual time
		}
		if got := accepted.Load(); got > 60 {
			t.Errorf("%d connections within 100 s", got)
		}
	})
}
