package httpbalancer

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// keepAliveMargin is how long before the server says that it closes an idle
// connection that is given up. A request that is on its way in that moment is
// lost, and may not be sent again unless it is idempotent.
const keepAliveMargin = time.Second

// keepAlive heeds the header of that name, with which an HTTP/1 server says for how
// many seconds after a response it leaves the connection open (RFC 2068, section
// 19.7.1.1). That is reckoned from the last bytes of the response, and less a
// second or, if it is less than two, less half of it. With a timeout of 0 the
// connection is not used again.
func (c *conn) keepAlive(h http.Header) {
	if h["Keep-Alive"] == nil {
		return
	}
	timeout, ok := keepAliveTimeout(h["Keep-Alive"])
	if !ok {
		return
	}
	if !c.countingConn.stamped.Swap(true) {
		c.countingConn.heard.Store(c.connPool.owner.pool.now())
	}
	c.kept.Store(int64(timeout-min(keepAliveMargin, timeout/2)) + 1)
}

// askKeepAlive adds "Connection: keep-alive" to the first request on a connection.
// It is the default of HTTP/1.1, but Apache says only to those who send it when it
// closes idle connections. The request is the caller's, and is not changed.
func askKeepAlive(req *http.Request) *http.Request {
	if req.Close || req.Header["Connection"] != nil {
		return req
	}
	own := req.WithContext(req.Context())
	own.Header = req.Header.Clone()
	if own.Header == nil {
		own.Header = make(http.Header, 1)
	}
	own.Header["Connection"] = []string{"keep-alive"}
	return own
}

// closing reports whether the server may be about to close the connection.
func (c *conn) closing() bool {
	kept := c.kept.Load() - 1
	return kept >= 0 && (kept == 0 || c.connPool.owner.pool.now()-c.countingConn.heard.Load() >= kept)
}

// keepAliveTimeout returns the parameter timeout of Keep-Alive headers.
func keepAliveTimeout(values []string) (time.Duration, bool) {
	for _, v := range values {
		for param := range strings.SplitSeq(v, ",") {
			name, text, _ := strings.Cut(param, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "timeout") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(text), `"`), 10, 31)
			return time.Duration(seconds) * time.Second, err == nil
		}
	}
	return 0, false
}
