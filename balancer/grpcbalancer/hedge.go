package grpcbalancer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sidestep-lb/sidestep/health"
)

// Hedge sends a unary call a second time, to another backend, when the answer
// takes longer than it nearly always does, and takes the answer that comes
// first (what gRFC A6 calls hedging, and grpc-go lacks). It cuts the longest of
// the latencies at the price of a few more requests, and is for methods that may
// be executed twice. The zero value is no hedging.
type Hedge struct {
	// Percentile says when: after the time that so many percent of the calls of
	// the method took lately, a millisecond at least. 95 and 99 are usual, and 0 is
	// none. Nothing is hedged before a hundred calls have been made.
	Percentile float64
	// Methods reports whether a method, such as "/pkg.Service/Method", may be
	// executed twice. It has to be set.
	Methods func(fullMethod string) bool
}

func (h Hedge) validate() error {
	switch {
	case h.Percentile == 0:
		return nil
	case !(h.Percentile > 0 && h.Percentile < 100):
		return fmt.Errorf("Hedge.Percentile: %v is not between 0 and 100", h.Percentile)
	case h.Methods == nil:
		return errors.New("Hedge.Methods: it has to say which methods may be executed twice")
	}
	return nil
}

// A hedger is what a Hedge needs in the life of a channel.
type hedger struct {
	// Set at the start and read-only.
	Hedge
	channel *channel

	timers sync.Map // *health.HedgeTimer by method
}

func newHedger(h Hedge, ch *channel) *hedger {
	if h.Percentile == 0 {
		return nil
	}
	return &hedger{Hedge: h, channel: ch}
}

// timer returns that of a method; nil if its calls are not to be hedged.
func (h *hedger) timer(method string, reply any) *health.HedgeTimer {
	if h == nil {
		return nil
	}
	if t, ok := h.timers.Load(method); ok {
		return t.(*health.HedgeTimer)
	}
	var t *health.HedgeTimer
	if _, ok := reply.(proto.Message); ok && h.Methods(method) { // another message of the kind has to be made for a second answer
		t = health.NewHedgeTimer(h.Percentile)
	}
	h.timers.Store(method, t)
	return t
}

// call makes a call that may be hedged. The context is for one call of this.
func (h *hedger) call(first *callContext, r *rpc, timer *health.HedgeTimer) error {
	began := h.channel.now()
	delay, ok := timer.Delay(began)
	if !ok {
		err := r.send(first)
		timer.Observe(time.Duration(h.channel.now() - began))
		return err
	}
	parent := first.Context
	var stop, stopSecond context.CancelFunc
	first.Context, stop = context.WithCancel(parent)
	defer stop()
	second := &hedge{rpc: r.again(), done: make(chan struct{}), context: first.sibling()}
	second.context.elsewhere = true
	second.context.Context, stopSecond = context.WithCancel(parent)
	defer stopSecond()
	start := time.AfterFunc(delay, func() {
		defer close(second.done)
		if !h.channel.budget.Withdraw(h.channel.now()) {
			return
		}
		if second.err = second.rpc.send(second.context); second.err == nil {
			second.won = true
			first.overtaken.Store(true)
			stop()
		}
	})
	err := r.send(first)
	timer.Observe(time.Duration(h.channel.now() - began))
	if start.Stop() {
		return err
	}
	if err == nil || !worthWaiting(err) {
		second.context.overtaken.Store(true)
		stopSecond()
	}
	<-second.done // it must not use the request after this has returned
	if err != nil && second.won {
		second.rpc.handOver(r)
		err = nil
	}
	return err
}

// A hedge is the second attempt.
type hedge struct {
	rpc     *secondRPC
	context *callContext
	done    chan struct{} // closed when the two below are set
	err     error
	won     bool
}

// worthWaiting reports whether another backend may have another answer.
func worthWaiting(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.Internal, codes.Unknown, codes.DataLoss, codes.Aborted, codes.Canceled:
		return true
	default:
		return false
	}
}

// A secondRPC is the same call with a reply of its own, and with places of its
// own for what call options let the caller see.
type secondRPC struct {
	rpc
	header, trailer metadata.MD
	peer            peer.Peer
	first           []grpc.CallOption
}

// again returns the second attempt of r.
func (r *rpc) again() *secondRPC {
	s := &secondRPC{rpc: *r, first: r.opts}
	s.reply = r.reply.(proto.Message).ProtoReflect().New().Interface()
	s.opts = make([]grpc.CallOption, 0, len(r.opts))
	for _, o := range s.first {
		switch o.(type) {
		case grpc.HeaderCallOption:
			o = grpc.Header(&s.header)
		case grpc.TrailerCallOption:
			o = grpc.Trailer(&s.trailer)
		case grpc.PeerCallOption:
			o = grpc.Peer(&s.peer)
		}
		s.opts = append(s.opts, o)
	}
	return s
}

// handOver gives the answer, and what belongs to it, to the caller, who does not
// know that there was another attempt.
func (s *secondRPC) handOver(r *rpc) {
	reply := r.reply.(proto.Message)
	proto.Reset(reply)
	proto.Merge(reply, s.reply.(proto.Message))
	for _, o := range s.first {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = s.header
		case grpc.TrailerCallOption:
			*o.TrailerAddr = s.trailer
		case grpc.PeerCallOption:
			*o.PeerAddr = s.peer
		}
	}
}
