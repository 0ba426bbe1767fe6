package httpbalancer

import (
	"crypto/rand"
	"net/http"
	"strings"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
)

// request returns what the Balancer has to know of a request.
func (p *pool) request(req *http.Request) (r adapter.Request) {
	if p.balancer.Measures() {
		r.Class = p.transport.classOf(req)
	}
	if !p.balancer.Keyed() {
		return r
	}
	from := p.transport.config.Balancer.HashKey
	r.Key, r.HasKey = adapter.KeyFrom(req.Context())
	if !r.HasKey && from.Header != "" {
		r.SetKey(strings.Join(req.Header.Values(from.Header), ","))
	}
	if !r.HasKey && from.Cookie != "" {
		if cookie, err := req.Cookie(from.Cookie); err == nil {
			r.SetKey(cookie.Value)
		}
	}
	return r
}

// setCookie gives a request without a key a new one, and has the caller bring it
// again.
func (j *call) setCookie() {
	config := &j.pool.transport.config
	if config.SetCookie == nil || j.request.HasKey {
		return
	}
	cookie := *config.SetCookie
	cookie.Name, cookie.Value = config.Balancer.HashKey.Cookie, rand.Text()
	j.request.SetKey(cookie.Value)
	j.cookie = cookie.String()
}
