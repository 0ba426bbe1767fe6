package httpbalancer

import (
	"cmp"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/tcp"
)

// dialer connects to pods, which are near: one that does not accept within two
// seconds is better replaced by another one. Its probes find out within 16 s that
// a pod is gone without a word, on a connection where everything that was sent has
// been acknowledged.
var dialer = net.Dialer{
	Timeout:         2 * time.Second,
	KeepAliveConfig: tcp.KeepAlive,
}

// defaultBase returns a Transport like http.DefaultTransport, even where a
// program has replaced that by something else.
func defaultBase() *http.Transport {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second}
}

// transports make the connections to all backends. None of the http.Transports sends a
// request or keeps a connection itself.
type transports struct {
	dial      dialFunc        // connects by TCP
	dialTLS   dialFunc        // does so and shakes hands, as the user has it; may be nil
	handshake time.Duration   // how long TLS may take, and then the SETTINGS of HTTP/2
	plain     *http.Transport // speaks what the base does
	http1     *http.Transport // HTTP/1 alone
	h2c       *http.Transport // HTTP/2 without TLS
	fixed     bool            // by the Config, whatever an endpoint declares
}

func newTransports(config *Config, base *http.Transport) transports {
	template := backendTemplate(base)
	if config.Base == nil || template.DialContext == nil {
		template.DialContext = dialer.DialContext
	}
	m := transports{
		dial: template.DialContext, dialTLS: template.DialTLSContext, fixed: config.Protocols != nil,
		handshake: cmp.Or(template.TLSHandshakeTimeout, defaultHandshakeTimeout),
	}
	template.DialContext = wireFrom
	m.plain = template
	var http1, h2c http.Protocols
	http1.SetHTTP1(true)
	h2c.SetUnencryptedHTTP2(true)
	h2c.SetHTTP2(true)
	m.http1, m.h2c = speaking(template, &http1), speaking(template, &h2c)
	if m.fixed {
		m.plain = speaking(template, config.Protocols)
	}
	m.plain.Clone() // has net/http write into TLSClientConfig which protocols it offers
	return m
}

// speaking returns a copy of t for certain protocols.
func speaking(t *http.Transport, protocols *http.Protocols) *http.Transport {
	t = t.Clone()
	t.Protocols, t.ForceAttemptHTTP2, t.TLSNextProto = protocols, false, nil
	if t.TLSClientConfig != nil && !protocols.HTTP2() { // what net/http has put there, or the server chooses HTTP/2
		t.TLSClientConfig.NextProtos = slices.DeleteFunc(slices.Clone(t.TLSClientConfig.NextProtos), func(p string) bool { return p == "h2" })
	}
	return t
}

// appProtocolH2C is how a Service declares HTTP/2 without TLS (KEP-3726).
const appProtocolH2C = "kubernetes.io/h2c"

// of returns the http.Transport that says which protocols are spoken.
func (m *transports) of(key poolKey, e *discovery.Endpoint) *http.Transport {
	switch {
	case key.http1:
		return m.http1
	case key.host == "" && e.AppProtocol == appProtocolH2C && !m.fixed:
		return m.h2c
	default:
		return m.plain
	}
}

// A carrier is what sends requests over a connection that is there.
type carrier struct {
	*http.Transport
	http2 bool
}

// carrierOf returns the one for a connection on which TLS, if it is spoken, has
// agreed on a protocol.
func (m *transports) carrierOf(t *http.Transport, state *tls.ConnectionState) carrier {
	http2 := onlyH2C(t)
	if state != nil {
		http2 = state.NegotiatedProtocol == "h2"
	}
	if http2 {
		return carrier{m.h2c, true}
	}
	return carrier{m.http1, false}
}

// onlyH2C reports whether HTTP/2 is spoken without TLS. net/http does so where it
// may not speak HTTP/1.
func onlyH2C(t *http.Transport) bool {
	return t.Protocols != nil && t.Protocols.UnencryptedHTTP2() && !t.Protocols.HTTP1()
}

// mayMultiplex reports whether a connection could turn out to be HTTP/2.
func (m *transports) mayMultiplex(key poolKey, e *discovery.Endpoint) bool {
	t := m.of(key, e)
	switch {
	case t.Protocols == nil:
		return key.host != "" && t.ForceAttemptHTTP2
	case key.host == "":
		return onlyH2C(t)
	default:
		return t.Protocols.HTTP2()
	}
}

// backendTemplate returns what makes connections like the base's.
func backendTemplate(base *http.Transport) *http.Transport {
	t := base.Clone()
	t.Proxy = nil
	t.Dial, t.DialTLS = nil, nil //nolint:staticcheck // deprecated, and would go past the backend
	if _, http2 := base.TLSNextProto["h2"]; http2 {
		// The base speaks HTTP/2, so this should, in spite of its own dial
		// function. An HTTP/2 implementation that somebody installed in the base is
		// left out: it has a pool of connections of its own.
		t.TLSNextProto = nil
		t.ForceAttemptHTTP2 = true
	}
	// These are kept by limits. With its own for connections, net/http panics when a
	// ClientConn closes that it has not counted.
	t.MaxIdleConnsPerHost, t.MaxConnsPerHost = 0, 0
	return t
}
