package httpbalancer

import (
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

func statusOf(resp *http.Response) int {
	if resp == nil {
		return 0
	}
	return resp.StatusCode
}

// judge tells the backend's health what the headers of a response mean, if what
// it means is not said by its end.
func (j *call) judge(x *attempt, resp *http.Response) {
	config := &j.pool.transport.config
	result := resultOf(config, resp)
	if result.Outcome == health.Success {
		rpc, known, late := x.rpcResult(config, j.req, resp)
		switch {
		case known:
			result = rpc
		case late != nil:
			x.late = late
			x.pick.Responding()
			return
		}
	}
	x.pick.Answered(result)
}

// wants reports whether an answer is a reason to ask another backend.
func (j *call) wants(resp *http.Response) bool {
	return j.repeatable && slices.Contains(j.pool.transport.config.Retry.Statuses, resp.StatusCode)
}

// drain reads what is left of a response that nobody wants, if that is little,
// and closes it.
func drain(resp *http.Response) {
	late := time.AfterFunc(drainTime, func() { resp.Body.Close() })
	defer late.Stop()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxDrain)) //nolint:errcheck // nobody wants it
	resp.Body.Close()
}

// isIdempotent follows net/http's own rule, see http.Transport, and RFC 9110,
// section 9.2.2.
func isIdempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, key := req.Header["Idempotency-Key"]
	_, xkey := req.Header["X-Idempotency-Key"]
	return key || xkey
}
