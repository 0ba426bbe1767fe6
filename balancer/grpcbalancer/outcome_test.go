package grpcbalancer_test

import (
	"testing"
	"time"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/health"
)

func TestAPodThatFailsIsEjectedAndOneThatRefusesBadRequestsIsNot(t *testing.T) {
	for code, ejected := range map[codes.Code]bool{
		codes.Unavailable: true, codes.Internal: true, codes.DataLoss: true, codes.Unknown: false, codes.ResourceExhausted: false,
		codes.NotFound: false, codes.InvalidArgument: false, codes.PermissionDenied: false, codes.Unimplemented: false,
	} {
		bad := startPod(t, "bad", func(p *pod) { p.code = code })
		good := startPod(t, "good")
		conn := dial(t, newSource(endpoints(bad, good)...), roundRobin)
		eventually(t, "both pods answer", func() bool {
			_, err := ask(conn, patience)
			return (err == nil || status.Code(err) == code) && bad.served.Load() > 0 && good.served.Load() > 0
		})
		for range 100 {
			if _, err := ask(conn, patience); err != nil && status.Code(err) != code {
				t.Fatal(err)
			}
		}
		// Five in a row, and the probes of the time that this took; or else every other.
		if n := bad.served.Load(); ejected != (n < 20) {
			t.Errorf("%v: the pod was asked %d times of about 100", code, n)
		}
	}
}

func TestWhatTheEndOfAnAttemptMeans(t *testing.T) {
	const unsent, silent, heard = 0, 1, 2 // how far it got
	trailersOnly := metadata.MD{"content-type": {"application/grpc"}}
	pushback := func(values ...string) metadata.MD {
		return metadata.MD{"content-type": {"application/grpc"}, "grpc-retry-pushback-ms": values}
	}
	for _, c := range []struct {
		name    string
		got     int
		code    codes.Code
		text    string
		trailer metadata.MD
		outcome health.Outcome
		answer  bool
		spare   time.Duration
	}{
		{"an answer", heard, codes.OK, "", nil, health.Success, true, 0},
		{"cancelled", silent, codes.Canceled, "context canceled", nil, health.Neutral, false, 0},
		{"out of time", silent, codes.DeadlineExceeded, "context deadline exceeded", nil, health.Timeout, false, 0},
		{"out of time while it waited for a stream", unsent, codes.DeadlineExceeded, "context deadline exceeded", nil, health.Neutral, false, 0},
		{"out of time in the midst of an answer", heard, codes.DeadlineExceeded, "context deadline exceeded", nil, health.Neutral, true, 0},
		{"the server says that it is out of time", heard, codes.DeadlineExceeded, "too late", trailersOnly, health.Timeout, true, 0},
		{"the request was wrong", heard, codes.InvalidArgument, "", trailersOnly, health.Success, true, 0},
		{"a handler's plain error", heard, codes.Unknown, "no such file", trailersOnly, health.Neutral, true, 0},
		{"a code of the future", heard, codes.Code(99), "", trailersOnly, health.Neutral, true, 0},
		{"the peer speaks no gRPC", heard, codes.Unknown, "unexpected HTTP status code received from server: 200 (OK)", nil, health.Failure, true, 0},
		{"the handler is broken", heard, codes.Internal, "panic", trailersOnly, health.Failure, true, 0},
		{"it broke off with a status", heard, codes.Internal, "server closed the stream without sending trailers", nil, health.Failure, true, 0},
		{"reset by the server", silent, codes.Internal, "stream terminated by RST_STREAM with error code: INTERNAL_ERROR", nil, health.Failure, true, 0},

		{"the credentials failed", unsent, codes.Internal, "transport: per-RPC creds failed due to error: expired", nil, health.Neutral, false, 0},
		{"too long to be sent", silent, codes.ResourceExhausted, "trying to send message larger than max (9 vs. 4)", nil, health.Neutral, false, 0},
		{"not to be encoded", silent, codes.Internal, "grpc: error while marshaling: string field contains invalid UTF-8", nil, health.Neutral, false, 0},
		{"not to be compressed", silent, codes.Internal, "grpc: error while compressing: no", nil, health.Neutral, false, 0},
		{"the answer is too long", heard, codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 4)", nil, health.Neutral, false, 0},
		{"too long for the server", heard, codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 4)", trailersOnly, health.Neutral, false, 0},
		{"the server cannot decode it", heard, codes.Internal, "grpc: error unmarshalling request: proto: cannot parse", trailersOnly, health.Neutral, false, 0},

		{"refused", silent, codes.Unavailable, "stream terminated by RST_STREAM with error code: REFUSED_STREAM", nil, health.Neutral, false, 0},
		{"above the last stream of GOAWAY", silent, codes.Unavailable, "the connection is draining", nil, health.Neutral, false, 0},
		{"not written any more", silent, codes.Unavailable, "transport is closing", nil, health.Neutral, false, 0},
		{"a server that relays such a status", heard, codes.Unavailable, "the connection is draining", trailersOnly, health.Failure, true, 0},
		{"the connection was lost", silent, codes.Unavailable, "error reading from server: EOF", nil, health.Failure, false, 0},
		{"lost in the midst of an answer", heard, codes.Unavailable, "error reading from server: EOF", nil, health.Failure, false, 0},
		{"a server that lost its own", heard, codes.Unavailable, "error reading from server: EOF", trailersOnly, health.Failure, true, 0},

		{"pushback", heard, codes.Unavailable, "", pushback("1500"), health.Failure, true, 1500 * time.Millisecond},
		{"pushback without end", heard, codes.Unavailable, "", pushback("99999999999999999999"), health.Failure, true, 0},
		{"pushback below zero", heard, codes.Unavailable, "", pushback("-1"), health.Failure, true, 0},
		{"pushback given twice", heard, codes.Unavailable, "", pushback("1", "2"), health.Failure, true, 0},
		{"pushback that is no time", heard, codes.Unavailable, "", pushback("soon"), health.Failure, true, 0},
	} {
		info := gbalancer.DoneInfo{
			Err: status.Error(c.code, c.text), Trailer: c.trailer, BytesSent: c.got > unsent, BytesReceived: c.got > silent,
		}
		r, answer := grpcbalancer.ResultOf(info)
		if r.Outcome != c.outcome || answer != c.answer || r.RetryAfter != c.spare {
			t.Errorf("%s: %v, answer %t, spare it %v; want %v, %t, %v", c.name, r.Outcome, answer, r.RetryAfter, c.outcome, c.answer, c.spare)
		}
	}
}
