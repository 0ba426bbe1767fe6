package httpbalancer

import (
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

// dialer connects to pods, which are near: one that does not accept within two
// seconds is better replaced by another one.
var dialer = net.Dialer{
	Timeout:         2 * time.Second,
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
}

const (
	// HTTP/2 would go on using a dead connection until TCP gives up, which
	// takes up to 15 minutes (go.dev/issue/39750).
	pingAfter   = 15 * time.Second
	pingTimeout = 5 * time.Second
)

// defaultBase returns a Transport like http.DefaultTransport, even where a
// program has replaced that by something else.
func defaultBase() *http.Transport {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second}
}

// makers are the http.Transports that make the connections to all backends. None
// of them sends a request or keeps a connection itself.
type makers struct {
	dial  dialFunc        // connects by TCP
	plain *http.Transport // speaks what the base does
	http1 *http.Transport // HTTP/1 alone
	h2c   *http.Transport // HTTP/2 without TLS
	fixed bool            // by the Config, whatever an endpoint declares
}

func newMakers(config *Config, base *http.Transport) makers {
	template := backendTemplate(base)
	if config.Base == nil || template.DialContext == nil {
		template.DialContext = dialer.DialContext
	}
	m := makers{dial: template.DialContext, plain: template, fixed: config.Protocols != nil}
	template.DialContext = viaCall(m.dial, true)
	if dialTLS := template.DialTLSContext; dialTLS != nil {
		template.DialTLSContext = viaCall(dialTLS, false)
	}
	var http1, h2c http.Protocols
	http1.SetHTTP1(true)
	h2c.SetUnencryptedHTTP2(true)
	h2c.SetHTTP2(true)
	m.http1, m.h2c = speaking(template, &http1), speaking(template, &h2c)
	if m.fixed {
		m.plain = speaking(template, config.Protocols)
	}
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

func (m *makers) of(key laneKey, e *discovery.Endpoint) *http.Transport {
	switch {
	case key.http1:
		return m.http1
	case key.host == "" && e.AppProtocol == appProtocolH2C && !m.fixed:
		return m.h2c
	default:
		return m.plain
	}
}

// mayMultiplex reports whether a connection could turn out to be HTTP/2.
func (m *makers) mayMultiplex(key laneKey, e *discovery.Endpoint) bool {
	t := m.of(key, e)
	switch {
	case t.Protocols == nil:
		return key.host != "" && t.ForceAttemptHTTP2
	case key.host == "":
		return t.Protocols.UnencryptedHTTP2() && !t.Protocols.HTTP1()
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
	if t.HTTP2 == nil {
		t.HTTP2 = &http.HTTP2Config{}
	}
	if t.HTTP2.SendPingTimeout == 0 {
		t.HTTP2.SendPingTimeout = pingAfter
	}
	if t.HTTP2.PingTimeout == 0 {
		t.HTTP2.PingTimeout = pingTimeout
	}
	return t
}
