package httpbalancer_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// proto answers with the protocol that was spoken.
func proto(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }

// both are HTTP/1 and HTTP/2, without TLS.
func both() *http.Protocols {
	p := h2c()
	p.SetHTTP1(true)
	return p
}

func TestTheServiceDeclaresWhatIsSpoken(t *testing.T) {
	var http1, h2cAlone http.Protocols
	http1.SetHTTP1(true)
	h2cAlone.SetUnencryptedHTTP2(true)
	for _, tt := range []struct {
		appProtocol string
		config      *http.Protocols
		want        string
	}{
		{"", nil, "HTTP/1.1"},
		{"http", nil, "HTTP/1.1"},
		{"kubernetes.io/ws", nil, "HTTP/1.1"},
		{"kubernetes.io/h2c", nil, "HTTP/2.0"},
		{"kubernetes.io/h2c", &http1, "HTTP/1.1"},
		{"", &h2cAlone, "HTTP/2.0"},
	} {
		pod := startWith(t, "quiz-0", proto, both())
		e := pod.endpoint()
		e.AppProtocol = tt.appProtocol
		s := newSource()
		s.set(viewOf(e))
		client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: s, Protocols: tt.config})}
		if got := get(t, client, "http://quiz.kiada/"); got != tt.want {
			t.Errorf("appProtocol %q, Protocols %v: %s, want %s", tt.appProtocol, tt.config, got, tt.want)
		}
	}
}

func TestHTTP1AloneCanBeSpokenWithTLS(t *testing.T) {
	pod, server := tlsServer(t, proto)
	base := server.Client().Transport.(*http.Transport).Clone()
	base.DialContext = nil
	base.TLSClientConfig.ServerName = "example.com"
	var http1 http.Protocols
	http1.SetHTTP1(true)
	for want, protocols := range map[string]*http.Protocols{"HTTP/2.0": nil, "HTTP/1.1": &http1} {
		client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: serving(pod), Base: base, Protocols: protocols})}
		if got := get(t, client, "https://quiz.kiada/"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Pitfall 3: the name of the certificate is a matter of each Service.
func TestConnectionsOfOneNameAreNotUsedForAnother(t *testing.T) {
	var names atomic.Value
	names.Store("")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.TLS.ServerName) }))
	s.StartTLS()
	defer s.Close()
	pod := &server{name: "quiz-0", addr: s.Listener.Addr().String()}
	base := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: &canonical{source: serving(pod)}, Base: base})}
	for range 2 {
		for _, host := range []string{"quiz.kiada", "quiz.kiada.svc"} {
			if got := get(t, client, "https://"+host+"/"); got != host {
				t.Errorf("a request for %s went over a connection for %s", host, got)
			}
		}
	}
}

// shout upgrades the connection and echoes in upper case.
func shout(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		io.WriteString(w, r.Proto)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusNotImplemented)
		return
	}
	defer conn.Close()
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
	rw.Flush()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		io.WriteString(conn, strings.ToUpper(line))
	}
}

// HTTP/2 has no upgrades (RFC 9113, section 8.6), so what asks for one goes over
// HTTP/1, also where the rest does not.
func TestUpgradesAreSentByHTTP1(t *testing.T) {
	tlsPod, tlsServer := tlsServer(t, shout)
	base := tlsServer.Client().Transport.(*http.Transport).Clone()
	base.DialContext = nil
	base.TLSClientConfig.ServerName = "example.com"
	h2cPod := startWith(t, "quiz-0", shout, both()).endpoint()
	h2cPod.AppProtocol = "kubernetes.io/h2c"
	plain := newSource()
	plain.set(viewOf(h2cPod))
	for _, tt := range []struct {
		scheme string
		source discovery.Source
		base   *http.Transport
	}{{"https", serving(tlsPod), base}, {"http", plain, nil}} {
		for _, upgrade := range []string{"websocket", "shout"} {
			transport := newTransport(t, httpbalancer.Config{Source: tt.source, Base: tt.base})
			client := &http.Client{Transport: transport}
			u := tt.scheme + "://quiz.kiada/"
			if got := get(t, client, u); got != "HTTP/2.0" {
				t.Errorf("%s: without an upgrade by %s", tt.scheme, got)
			}
			req := request(t, func(r *http.Request) {
				r.Header.Set("Connection", "keep-alive, Upgrade")
				r.Header.Set("Upgrade", upgrade)
			})
			req.URL.Scheme = tt.scheme
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			stream, ok := resp.Body.(io.ReadWriteCloser)
			if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
				t.Fatalf("%s: status %d, body %T", tt.scheme, resp.StatusCode, resp.Body)
			}
			io.WriteString(stream, "hello\n")
			if line, err := bufio.NewReader(stream).ReadString('\n'); line != "HELLO\n" {
				t.Errorf("read %q, %v", line, err)
			}
			if n := transport.InFlight(); n != 1 {
				t.Errorf("%d in flight, want 1", n)
			}
			stream.Close()
			if n := transport.InFlight(); n != 0 {
				t.Errorf("%d in flight after Close, want 0", n)
			}
		}
	}
}

// Pitfall 8 and otel-contrib#1629: a proxy hands the connection on.
func TestAReverseProxyHandsOnUpgradesBodiesAndTrailers(t *testing.T) {
	pod := start(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			shout(w, r)
			return
		}
		w.Header().Set("Trailer", "Checksum")
		io.Copy(w, r.Body)
		w.Header().Set("Checksum", "42")
	})
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod, gone(t, "quiz-1"))})
	target, _ := url.Parse("http://quiz.kiada")
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, Transport: transport})
	defer proxy.Close()
	for range 4 {
		resp, err := proxy.Client().Post(proxy.URL, "text/plain", onceBody("hello"))
		if got := read(t)(resp, err); got != "hello" || resp.Trailer.Get("Checksum") != "42" {
			t.Errorf("answer %q, trailers %v", got, resp.Trailer)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(proxy.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: quiz\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	io.WriteString(conn, "hello\n")
	if line, err := r.ReadString('\n'); line != "HELLO\n" {
		t.Errorf("read %q, %v", line, err)
	}
	conn.Close()
	eventually(t, "nothing is in flight", func() bool { return transport.InFlight() == 0 })
}

// Pitfall 5: HTTP/2 goes on using a dead connection until TCP gives up, after 15
// minutes (go.dev/issue/39750). Where the peer is gone, TCP finds out; where it is
// there and frozen, pings do, if the user asks for them.
func TestAnHTTP2ConnectionThatFallsSilentIsGivenUpIfPingsAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		n.set("10.0.0.1:80", func(c net.Conn) { // reads and never says a word after its settings
			defer c.Close()
			go c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
			io.Copy(io.Discard, c)
		})
		n.set("10.0.0.2:80", web(h2c()))
		base := &http.Transport{
			DialContext: n.dial, Protocols: h2c(),
			HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
		}
		transport := httpbalancer.New(httpbalancer.Config{
			Base: base, Source: at("10.0.0.1:80", "10.0.0.2:80"), Balancer: balancer.Config{Policy: balancer.RoundRobin},
		})
		defer transport.Close()
		client := &http.Client{Transport: transport}
		for range 2 {
			began := time.Now()
			if got := get(t, client, "http://quiz.kiada/"); got != "ok" {
				t.Errorf("answer %q", got)
			}
			if took := time.Since(began); took > 21*time.Second {
				t.Errorf("it took %v", took)
			}
		}
	})
}

// A stream that the server resets is no reason to think it cannot be reached.
func TestAHandlerThatPanicsOnAStreamBreaksNothingElse(t *testing.T) {
	protocols := h2c()
	pods := []*server{startWith(t, "quiz-0", breaks, protocols), startWith(t, "quiz-1", breaks, protocols)}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Protocols: protocols})
	resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", newBody("hello")))
	if err == nil {
		resp.Body.Close()
		t.Fatal("served")
	}
	if n := requestsOf(pods); n != 1 {
		t.Errorf("the POST was sent %d times", n)
	}
	if n := transport.Fit(); n != 2 {
		t.Errorf("%d backends in rotation, want 2", n)
	}
}

// Pitfall 13: http.Client asks the outermost type (kubernetes#104844).
func TestAWrappedTransportCloses(t *testing.T) {
	pod := start(t, "quiz-0", nil)
	transport := httpbalancer.New(httpbalancer.Config{Source: serving(pod)})
	client := &http.Client{Transport: wrapped{transport}} // httplb#78
	get(t, client, "http://quiz.kiada/")
	client.CloseIdleConnections()
	eventually(t, "the connection closes", func() bool { return pod.openConns() == 0 })
	get(t, client, "http://quiz.kiada/")
	transport.Close()
	mustFail(t, discovery.ErrClosed)(client.Get("http://quiz.kiada/"))
}

type wrapped struct{ *httpbalancer.Transport }

// Pitfall 10, kratos#3834: a caller that gives up is no failure of the backend;
// and httplb#70: a context that ends later is none of the body's business.
func TestCallersThatGiveUpWhileBodiesComeAreHeldAgainstNobody(t *testing.T) {
	release := make(chan struct{})
	pods := []*server{start(t, "quiz-0", streams(release)), start(t, "quiz-1", streams(release))}
	defer close(release)
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Balancer: balancer.Config{Policy: balancer.LeastRequest}})
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada/", nil)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("the body ended well")
		}
		resp.Body.Close()
	}
	if n := transport.Fit(); n != 2 {
		t.Errorf("%d backends in rotation, want 2", n)
	}
	if n := transport.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}
