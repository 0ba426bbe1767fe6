package httpbalancer

import (
	"net/http"
	"strings"

	"github.com/sidestep-lb/sidestep/balancer"
)

// request returns what the Balancer has to know of a request.
func (p *pool) request(req *http.Request) (r balancer.Request) {
	if !p.balancer.Keyed() {
		return r
	}
	from := p.transport.config.Balancer.HashKey
	r.Key, r.HasKey = balancer.KeyFrom(req.Context())
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
