package httpbalancer_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

func TestTheHostHeaderIsTheServices(t *testing.T) {
	pod := start(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
	client := newClient(t, serving(pod))

	for _, host := range []string{"quiz.kiada", "quiz.kiada:8080", "quiz.kiada.svc.cluster.local"} {
		if got := get(t, client, "http://"+host); got != host {
			t.Errorf("Host %q, want %q", got, host)
		}
	}
}

func TestTheHostHeaderIsTheServicesBehindAReverseProxyThatClearsIt(t *testing.T) {
	pod := start(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
	target, _ := url.Parse("http://quiz.kiada:8080")
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: newTransport(t, httpbalancer.Config{Source: serving(pod)}),
	})
	defer proxy.Close()

	if got := get(t, proxy.Client(), proxy.URL); got != "quiz.kiada:8080" {
		t.Errorf("Host %q, want quiz.kiada:8080", got)
	}
}

func TestTheTLSServerNameIsTheServices(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%v", http2), func(t *testing.T) {
			pod, server := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, r.TLS.ServerName, " ", r.Host, " ", r.ProtoMajor)
			})
			config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			config.ServerName = ""
			config.InsecureSkipVerify = true // the certificate is example.com's
			base := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: http2}
			client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: serving(pod), Base: base})}

			want := "quiz.kiada quiz.kiada 1"
			if http2 {
				want = "quiz.kiada quiz.kiada 2"
			}
			if got := get(t, client, "https://quiz.kiada/"); got != want {
				t.Errorf("server name, host, protocol: %q, want %q", got, want)
			}
		})
	}
}

func TestABaseThatSpeaksHTTP2ByDefaultDoesSoToThePods(t *testing.T) {
	pod, server := tlsServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	base := server.Client().Transport.(*http.Transport).Clone() // verifies, as example.com
	base.DialContext = nil
	base.TLSClientConfig.ServerName = "example.com"
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: serving(pod), Base: base})}

	if got := get(t, client, "https://quiz.kiada/"); got != "HTTP/2.0" {
		t.Errorf("protocol %q, want HTTP/2.0", got)
	}
}

func TestUnencryptedHTTP2IsSpokenIfTheBaseDoes(t *testing.T) {
	pod := startWith(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", r.Host) }, h2c())
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: serving(pod), Base: &http.Transport{Protocols: h2c()}})}

	if got := get(t, client, "http://quiz.kiada/"); got != "HTTP/2.0 quiz.kiada" {
		t.Errorf("protocol and host %q, want HTTP/2.0 quiz.kiada", got)
	}
}

// h2c is HTTP/2 without TLS.
func h2c() *http.Protocols {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &p
}

func TestCookiesAndRedirectsBelongToTheService(t *testing.T) {
	pod := start(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			http.SetCookie(w, &http.Cookie{Name: "user", Value: "ada"})
			http.Redirect(w, r, "home", http.StatusFound)
			return
		}
		cookie, err := r.Cookie("user")
		fmt.Fprint(w, r.URL.Path, " ", cookie, " ", err)
	})
	client := newClient(t, serving(pod))
	client.Jar, _ = cookiejar.New(nil)

	resp, err := client.Get("http://quiz.kiada/login")
	if got := read(t)(resp, err); got != "/home user=ada <nil>" {
		t.Errorf("after the redirect: %q", got)
	}
	if got := resp.Request.URL.String(); got != "http://quiz.kiada/home" {
		t.Errorf("Response.Request is for %s", got)
	}
}

func TestResponsesKeepTheCallersRequest(t *testing.T) {
	transport := newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", nil))})
	req := post(t, "http://quiz.kiada/", newBody("hello"))
	before := *req

	resp, err := transport.RoundTrip(req)
	read(t)(resp, err)
	if resp.Request != req {
		t.Error("Response.Request is not the caller's request")
	}
	if req.URL != before.URL || req.Host != before.Host || req.Body != before.Body || req.Context() != before.Context() {
		t.Error("the caller's request was changed")
	}
}

func TestTheCallersTraceStillWorks(t *testing.T) {
	client := newClient(t, serving(start(t, "quiz-0", nil)))
	var events []string
	trace := &httptrace.ClientTrace{
		GetConn:              func(hostPort string) { events = append(events, "get "+hostPort) },
		GotConn:              func(httptrace.GotConnInfo) { events = append(events, "got") },
		GotFirstResponseByte: func() { events = append(events, "answer") },
	}
	req, _ := http.NewRequest(http.MethodGet, "http://quiz.kiada/", nil)

	read(t)(client.Do(req.WithContext(httptrace.WithClientTrace(t.Context(), trace))))
	if got := strings.Join(events, ", "); got != "get quiz.kiada:80, got, answer" {
		t.Errorf("the trace saw: %s", got)
	}
}

func TestABaseThatDialsTLSItselfIsGivenThePodsAddress(t *testing.T) {
	pod, _ := tlsServer(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
	var dialled string
	base := &http.Transport{DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled = addr
		d := tls.Dialer{Config: &tls.Config{ServerName: "example.com", InsecureSkipVerify: true}}
		return d.DialContext(ctx, network, addr)
	}}
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: serving(pod), Base: base})}

	if got := get(t, client, "https://quiz.kiada/"); got != "quiz.kiada" {
		t.Errorf("Host %q, want quiz.kiada", got)
	}
	if dialled != pod.addr {
		t.Errorf("dialled %s, want %s", dialled, pod.addr)
	}
}
