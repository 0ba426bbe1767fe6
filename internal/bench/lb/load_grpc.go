package lb

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	v3orcapb "github.com/cncf/xds/go/xds/data/orca/v3"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/metadata"

	sidestepbalancer "github.com/sidestep-lb/sidestep/balancer"
)

const (
	// keyHeader is the header that says which requests belong together.
	keyHeader = "x-user"
	// users is how many keys there are. It is a power of two.
	users = 1024
)

// A grpcLoad is one of a channel.
type grpcLoad struct {
	*channel
	requests       [users]balancer.PickInfo
	plain, reports [8]balancer.DoneInfo
}

func (c Client) start(n int) (load, error) {
	if c.policy == "" {
		return newKratosLoad(n), nil
	}
	if c.telemetry {
		if err := collect(); err != nil {
			return nil, err
		}
	}
	ch, err := newChannel(c)
	if err != nil {
		return nil, err
	}
	list := endpoints(n)
	for i := range list {
		if c.weights {
			list[i].Weight = uint32(1 + i%5)
		}
	}
	state, err := stateOf(list)
	if err != nil {
		return nil, err
	}
	if err := ch.update(state); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	ch.settle()
	l := newGRPCLoad(ch, c.keyInHeader)
	return l, l.connect()
}

func newGRPCLoad(ch *channel, keyInHeader bool) *grpcLoad {
	l := &grpcLoad{channel: ch}
	for i := range l.requests {
		key := "user-" + strconv.Itoa(i)
		ctx := metadata.NewOutgoingContext(context.Background(), metadata.Pairs(keyHeader, key))
		if !keyInHeader {
			ctx = sidestepbalancer.WithKey(ctx, key)
		}
		l.requests[i] = balancer.PickInfo{FullMethodName: "/quiz.Quiz/Ask", Ctx: ctx}
	}
	for i := range l.reports {
		l.plain[i] = balancer.DoneInfo{BytesSent: true, BytesReceived: true}
		l.reports[i] = l.plain[i]
		l.reports[i].ServerLoad = &v3orcapb.OrcaLoadReport{RpsFractional: 100, ApplicationUtilization: 0.3 + 0.05*float64(i)}
	}
	return l
}

// connect makes a request for each user, because some policies connect to a
// backend only when it gets one.
func (l *grpcLoad) connect() error {
	for connecting := true; connecting; l.settle() {
		connecting = false
		for _, request := range l.requests {
			result, err := l.Pick(request)
			switch {
			case errors.Is(err, balancer.ErrNoSubConnAvailable):
				connecting = true
			case err != nil:
				return err
			case result.Done != nil:
				result.Done(l.plain[0])
			}
		}
	}
	return nil
}

// run implements load.
func (l *grpcLoad) run(s shift) (picks int, err error) {
	ends := &l.plain
	if s.report {
		ends = &l.reports
	}
	var open [InFlight]func(balancer.DoneInfo)
	first := s.worker * users / 2
	for picks < s.limit && !s.stop.Load() {
		slot := &open[picks%InFlight]
		if *slot != nil {
			(*slot)(ends[picks%len(ends)])
		}
		result, err := l.Pick(l.requests[(first+picks)%users])
		if err != nil {
			return picks, err
		}
		*slot = result.Done
		picks++
	}
	for _, done := range open {
		if done != nil {
			done(ends[0])
		}
	}
	return picks, nil
}

// end implements load.
func (l *grpcLoad) end() { l.close() }
