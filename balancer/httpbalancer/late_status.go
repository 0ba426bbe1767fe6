package httpbalancer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// NoRPCCode stands for the status code of a response that has none.
const NoRPCCode = -1

// RPCOutcome says what a status code of gRPC, gRPC-Web or Connect means for the
// backend that answered with it, unless Config.OutcomeAtEnd says otherwise. It is
// the same as over gRPC, see CodeOutcome of package grpcbalancer.
//
//	OK (0), INVALID_ARGUMENT (3), NOT_FOUND (5), ALREADY_EXISTS (6),          success
//	PERMISSION_DENIED (7), FAILED_PRECONDITION (9), ABORTED (10),
//	OUT_OF_RANGE (11), UNAUTHENTICATED (16)
//	DEADLINE_EXCEEDED (4)                                                     timeout
//	INTERNAL (13), UNAVAILABLE (14), DATA_LOSS (15)                           failure
//	CANCELLED (1), UNKNOWN (2), RESOURCE_EXHAUSTED (8), UNIMPLEMENTED (12),   neutral
//	any other, and NoRPCCode
func RPCOutcome(code int) health.Outcome {
	switch code {
	case 0, 3, 5, 6, 7, 9, 10, 11, 16:
		return health.Success
	case 4:
		return health.Timeout
	case 13, 14, 15:
		return health.Failure
	default:
		return health.Neutral
	}
}

// A lateStatus finds out what a response means whose headers do not say it: from
// the trailers, or from the last frame of the body. It looks at what the caller
// reads and changes nothing of it. A nil *lateStatus is that of a response whose
// headers have said all.
type lateStatus struct {
	config   *Config // read-only, as are all but the last
	protocol rpcProtocol
	resp     *http.Response // its trailers are there when its body has been read
	conn     *conn

	frames *endScanner // nil if the status is in the trailers; what it has found is guarded by mu

	mu   sync.Mutex // the body may be closed while it is read
	over bool       // the end has been seen; guarded by mu
}

// rpcResult returns what an RPC's headers mean, if they have the status, as those
// of a response without a body have. Else it returns what will find out, or
// neither if the response is none of an RPC.
func (x *attempt) rpcResult(config *Config, req *http.Request, resp *http.Response) (r adapter.Result, known bool, late *lateStatus) {
	protocol := rpcProtocolOf(resp.Header)
	if protocol == noRPC && (config.OutcomeAtEnd == nil || len(resp.Trailer) == 0) {
		return r, false, nil
	}
	if protocol == grpc || protocol == grpcWeb || protocol == grpcWebText {
		if code := grpcCode(resp.Header); code != NoRPCCode { // Trailers-Only
			return resultAtEnd(config, resp, code, resp.Header), true, nil
		}
	}
	if isBodyless(req, resp) {
		return r, false, nil
	}
	late = &lateStatus{config: config, protocol: protocol, resp: resp, conn: x.conn}
	if protocol != noRPC && protocol != grpc {
		late.frames = newEndScanner(protocol, resp.Header)
	}
	return r, false, late
}

// write is told what has been read of the body.
func (l *lateStatus) write(p []byte) {
	if l == nil || l.frames == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frames.write(p)
}

// result returns what the response meant when its body has ended with err, which
// is io.EOF if it was read to the end.
func (l *lateStatus) result(err error) adapter.Result {
	if l == nil {
		return adapter.Result{}
	}
	l.mu.Lock()
	code, over := NoRPCCode, l.over
	if l.over = true; l.frames != nil {
		code = l.frames.code
	}
	l.mu.Unlock()
	switch {
	case over: // and the attempt has ended
		return adapter.Result{}
	case code != NoRPCCode:
		return resultAtEnd(l.config, l.resp, code, nil)
	case errors.Is(err, io.EOF):
		return resultAtEnd(l.config, l.resp, grpcCode(l.resp.Trailer), l.resp.Trailer)
	case l.protocol == noRPC: // it is what its headers say
		return adapter.Result{Outcome: health.Success}
	case errors.Is(err, errClosedEarly), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		hasStreamCode(err, noError), hasStreamCode(err, cancelStream): // it worked for as long as somebody wanted it
		return adapter.Result{}
	default: // it broke off, with others on the same connection perhaps
		r := adapter.Result{Outcome: health.Failure}
		if l.conn.http2 && !isStreamError(err) {
			r.SameEvent = l.conn.lost.Swap(true)
		}
		return r
	}
}

// resultAtEnd says what a response with this status code means.
func resultAtEnd(config *Config, resp *http.Response, code int, from http.Header) adapter.Result {
	r := adapter.Result{Outcome: RPCOutcome(code)}
	if config.OutcomeAtEnd != nil {
		r.Outcome = config.OutcomeAtEnd(resp, code)
	}
	if r.Outcome == health.Failure {
		r.RetryAfter = pushback(from)
	}
	return r
}

// grpcCode returns gRPC's status from headers or trailers.
func grpcCode(h http.Header) int {
	values := h["Grpc-Status"]
	if len(values) != 1 {
		return NoRPCCode
	}
	return parseGRPCCode(values[0])
}

func parseGRPCCode(text string) int {
	code, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return NoRPCCode
	}
	return int(code)
}

// pushback is for how long a server asked to be spared (gRFC A6).
func pushback(h http.Header) time.Duration {
	values := h["Grpc-Retry-Pushback-Ms"]
	if len(values) != 1 {
		return 0
	}
	ms, err := strconv.ParseUint(values[0], 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}
