package httpbalancer

import (
	"context"
	"net"
	"net/http"
	"time"
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

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// defaultBase returns a Transport like http.DefaultTransport, even where a
// program has replaced that by something else.
func defaultBase() *http.Transport {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second}
}

// backendTemplate returns what the transport of each backend is cloned from.
// Its dial functions are for the backends to set.
func backendTemplate(base *http.Transport) *http.Transport {
	t := base.Clone()
	t.Proxy = nil
	t.Dial, t.DialTLS = nil, nil //nolint:staticcheck // deprecated, and would go past the backend
	if _, http2 := base.TLSNextProto["h2"]; http2 {
		// The base speaks HTTP/2, so a clone should, in spite of its own dial
		// function. An HTTP/2 implementation that somebody installed in the base
		// is left out: its connections are shared by all who have the same host
		// in their URLs, which here are different backends.
		t.TLSNextProto = nil
		t.ForceAttemptHTTP2 = true
	}
	t.MaxIdleConns = 0
	if t.MaxIdleConnsPerHost == 0 {
		t.MaxIdleConnsPerHost = maxIdleConnsPerBackend
	}
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
