package grpcbalancer

import (
	"strconv"
	"strings"
	"time"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// CodeOutcome says what a status code means for the backend that answered with
// it, unless Config.Outcome says otherwise.
//
//	OK                                      success
//	INVALID_ARGUMENT, NOT_FOUND,            success: the status is about the
//	ALREADY_EXISTS, FAILED_PRECONDITION,    request or the caller, and it took a
//	OUT_OF_RANGE, ABORTED,                  server that works to find that out.
//	PERMISSION_DENIED, UNAUTHENTICATED      Its latency is measured.
//	UNKNOWN                                 neutral: what grpc-go makes of any
//	                                        error of a handler that has no status
//	UNIMPLEMENTED                           neutral: another version of the
//	                                        server; how fast it says so is no latency
//	RESOURCE_EXHAUSTED                      neutral: the quota of a caller, or a
//	                                        message over a limit, far more often
//	                                        than an overloaded server
//	CANCELLED                               neutral: the caller gave up
//	DEADLINE_EXCEEDED                       timeout
//	UNAVAILABLE, INTERNAL, DATA_LOSS        failure
//	any other                               neutral, as UNKNOWN
//
// A neutral answer ends a row of failures, and no latency is taken from it.
func CodeOutcome(code codes.Code) health.Outcome {
	switch code {
	case codes.OK, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition,
		codes.OutOfRange, codes.Aborted, codes.PermissionDenied, codes.Unauthenticated:
		return health.Success
	case codes.DeadlineExceeded:
		return health.Timeout
	case codes.Unavailable, codes.Internal, codes.DataLoss:
		return health.Failure
	default:
		return health.Neutral
	}
}

// An ending is how an attempt ended.
type ending uint8

const (
	neverSent  ending = iota // the pick did not become a request
	onThisSide               // this side ended it; the backend has no part in that
	refused                  // the server says that it did not process it
	lost                     // the connection was lost
	cut                      // the connection was lost after the server had announced that
	outOfTime                // the caller's deadline passed
	canceled                 // the caller or the server cancelled it
	answered                 // the server ended it with a status
)

// endingOf finds out how an attempt ended. gRPC reports a status in any case,
// also where its client made that up. Only where DoneInfo cannot tell, its
// message decides: the texts are those of grpc-go 1.84 and 1.85.
func endingOf(info *gbalancer.DoneInfo) ending {
	switch {
	case info.Err == nil && !info.BytesReceived:
		return neverSent
	case info.Err == nil:
		return answered
	case !info.BytesSent: // there was no stream: the connection was closing, or credentials failed, or the stream had to wait
		return onThisSide
	}
	s := status.Convert(info.Err)
	switch code := s.Code(); {
	case code == codes.Canceled:
		return canceled
	case code == codes.DeadlineExceeded:
		return outOfTime
	case isTrailersOnly(info.Trailer):
		if isAboutTheMessage(s.Message()) {
			return onThisSide
		}
		return answered
	case code == codes.Unavailable && !info.BytesReceived && hasPrefix(s.Message(), refusals):
		return refused
	case code == codes.Unavailable && (!info.BytesReceived || len(info.Trailer) == 0 && hasPrefix(s.Message(), losses)):
		if strings.Contains(s.Message(), goawayNoError) || strings.Contains(s.Message(), goawayCalm) {
			return cut
		}
		return lost
	case isAboutTheMessage(s.Message()):
		return onThisSide
	default:
		return answered
	}
}

// isTrailersOnly reports whether these are the only headers that a server sent
// (Trailers-Only of gRPC's PROTOCOL-HTTP2), so that the status is certainly its
// own. Trailers that follow headers have no content-type.
func isTrailersOnly(trailer metadata.MD) bool { return len(trailer["content-type"]) > 0 }

// refusals are how the client words it that a server did not process a stream:
// REFUSED_STREAM, a stream above the last one of GOAWAY, and one that was not
// written any more.
var refusals = []string{
	"stream terminated by RST_STREAM with error code: REFUSED_STREAM",
	"the stream is rejected because server is draining the connection",
	"the connection is draining",
	"transport is closing",
}

// losses are how it words the loss of a connection.
var losses = []string{
	"error reading from server",
	"closing transport due to",
	"connection error: desc",
	"keepalive ping failed",
	"no active streams left",
	"received goaway",
	"transport is closing",
}

// What it adds if the server had announced the end of the connection, at its age
// say, or had enough of the client's pings.
const (
	goawayNoError = "received prior goaway: code: NO_ERROR"
	goawayCalm    = "received prior goaway: code: ENHANCE_YOUR_CALM"
)

// aboutTheMessage are how client and server word it that a message was too long,
// or could not be encoded or decoded. Which side is wrong cannot be told, and no
// other backend would do better.
var aboutTheMessage = []string{
	"trying to send message larger than max",
	"SendMsg called after CloseSend",
	"grpc: message too large",
	"grpc: error while marshaling",
	"grpc: error while compressing",
	"grpc: received message larger than max",
	"grpc: message after decompression larger than max",
	"grpc: received message after decompression larger than max",
	"grpc: failed to unmarshal the received message",
	"grpc: error unmarshalling request",
	"grpc: failed to decompress the",
	"grpc: failed to read decompressed data",
	"grpc: no decompressor available",
	"grpc: Decompressor is not installed",
	"grpc: peer compressed the response with",
}

func isAboutTheMessage(message string) bool { return hasPrefix(message, aboutTheMessage) }

func hasPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// resultOf says what the end of an attempt means for its backend, and whether
// the backend has answered. c is the call, or nil if it is not known; heard says
// that the attempt is of a stream that has had a message.
func (c *callContext) resultOf(e ending, info *gbalancer.DoneInfo, heard bool) (_ adapter.Result, answer bool) {
	switch e {
	case lost, cut:
		return adapter.Result{Outcome: health.Failure, SameEvent: e == cut}, false
	case canceled:
		if c != nil && c.gaveUp.Load() { // Retry.TryTimeout
			return adapter.Result{Outcome: health.Timeout}, false
		}
		return adapter.Result{}, false
	case outOfTime:
		begun := info.BytesReceived && len(info.Trailer) == 0 // with headers, and the end was still to come
		switch {
		case heard: // it worked for as long as its caller wanted
			return adapter.Result{}, true
		case begun && (c == nil || c.streaming):
			return adapter.Result{}, true
		case info.BytesReceived && !begun:
			return adapter.Result{Outcome: c.outcome(info)}, true
		default:
			return adapter.Result{Outcome: health.Timeout}, false
		}
	case answered:
		r := adapter.Result{Outcome: c.outcome(info)}
		if r.Outcome == health.Failure {
			r.RetryAfter = max(pushback(info.Trailer), 0)
		}
		return r, true
	default:
		return adapter.Result{}, false
	}
}

// outcome is what a status of the server means.
func (c *callContext) outcome(info *gbalancer.DoneInfo) health.Outcome {
	s := status.Convert(info.Err)
	switch {
	case c != nil && c.channel != nil && c.channel.outcome != nil:
		if o := c.channel.outcome(c.method, s, info.Trailer); o < health.Unreachable {
			return o
		}
		return health.Failure // whether it can be reached is for its connection to say
	case s.Code() == codes.Unknown && hasPrefix(s.Message(), notGRPC):
		return health.Failure
	default:
		return CodeOutcome(s.Code())
	}
}

// notGRPC are how the client words it that the peer does not speak gRPC.
var notGRPC = []string{"unexpected HTTP status code", "malformed header", "transport: "}

// noRetry is the pushback of a server that wants no further attempt.
const noRetry time.Duration = -1

// pushback is for how long the server asked to be spared, noRetry if it wants no
// further attempt, and 0 if it says nothing (gRFC A6).
func pushback(trailer metadata.MD) time.Duration {
	values := trailer["grpc-retry-pushback-ms"]
	if len(values) == 0 {
		return 0
	}
	ms, err := strconv.ParseInt(values[0], 10, 32)
	if len(values) > 1 || err != nil || ms < 0 {
		return noRetry
	}
	return time.Duration(ms) * time.Millisecond
}
