package grpcbalancer_test

import (
	"errors"
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
		codes.Unavailable: true, codes.Internal: true, codes.Unknown: true, codes.ResourceExhausted: true, codes.DataLoss: true,
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
	answered := gbalancer.DoneInfo{BytesSent: true, BytesReceived: true}
	with := func(err error, trailer metadata.MD) gbalancer.DoneInfo {
		info := answered
		info.Err, info.Trailer = err, trailer
		return info
	}
	pushback := func(values ...string) gbalancer.DoneInfo {
		return with(status.Error(codes.Unavailable, ""), metadata.MD{"grpc-retry-pushback-ms": values})
	}
	for name, c := range map[string]struct {
		info    gbalancer.DoneInfo
		outcome health.Outcome
		answer  bool
		spare   time.Duration
	}{
		"an answer":                {answered, health.Success, true, 0},
		"cancelled":                {with(status.Error(codes.Canceled, ""), nil), health.Neutral, false, 0},
		"out of time":              {with(status.Error(codes.DeadlineExceeded, ""), nil), health.Timeout, false, 0},
		"the request was wrong":    {with(status.Error(codes.InvalidArgument, ""), nil), health.Neutral, true, 0},
		"no status at all":         {with(errors.New("broken"), nil), health.Failure, true, 0},
		"pushback":                 {pushback("1500"), health.Failure, true, 1500 * time.Millisecond},
		"pushback without end":     {pushback("99999999999999999999"), health.Failure, true, 0},
		"pushback below zero":      {pushback("-1"), health.Failure, true, 0},
		"pushback given twice":     {pushback("1", "2"), health.Failure, true, 0},
		"pushback that is no time": {pushback("soon"), health.Failure, true, 0},
	} {
		r, answer := grpcbalancer.ResultOf(c.info)
		if r.Outcome != c.outcome || answer != c.answer || r.RetryAfter != c.spare {
			t.Errorf("%s: %v, answer %t, spare it %v; want %v, %t, %v", name, r.Outcome, answer, r.RetryAfter, c.outcome, c.answer, c.spare)
		}
	}
}
