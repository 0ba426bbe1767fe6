package adapter

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

// lines are how events are logged. What is part of each rollout is for those who
// look closely.
var lines = map[balancer.EventKind]struct {
	level   slog.Level
	message string
}{
	balancer.EventEjected:       {slog.LevelWarn, "sidestep: backend ejected"},
	balancer.EventPardoned:      {slog.LevelWarn, "sidestep: all backends fail, none is ejected for a while"},
	balancer.EventProbesFailing: {slog.LevelWarn, "sidestep: backend fails its probes"},
	balancer.EventFailOpen:      {slog.LevelWarn, "sidestep: no backend is fit, all are used"},
	balancer.EventNoneFit:       {slog.LevelWarn, "sidestep: no backend is fit"},
	balancer.EventReadmitted:    {slog.LevelInfo, "sidestep: backend readmitted"},
	balancer.EventProbesPassing: {slog.LevelInfo, "sidestep: backend succeeds in its probes again"},
	balancer.EventFit:           {slog.LevelInfo, "sidestep: backends are fit again"},
	balancer.EventEndpoints:     {slog.LevelDebug, "sidestep: backends changed"},
	balancer.EventUnreachable:   {slog.LevelDebug, "sidestep: backend cannot be reached"},
	balancer.EventReached:       {slog.LevelDebug, "sidestep: backend reached again"},
}

const (
	maxEvents    = 64               // that are kept
	logPeriod    = 10 * time.Second // in which no more than
	logsInAWhole = 10               // lines are logged
)

// events are the latest ones of a Balancer that has a name.
type events struct {
	mu     sync.Mutex
	ring   [maxEvents]event // guarded by mu, as is all below
	n      int              // so far
	period int64            // of logging, when it began
	logged int              // in this period
}

// An event is one with its time as the Balancer counts it.
type event struct {
	at              int64
	kind            balancer.EventKind
	backend, detail string
}

// recordEvent takes note of an event. It may be called with any mutex held.
func (b *Balancer) recordEvent(kind balancer.EventKind, be *Backend, detail string) {
	if b.hooks.Name == "" {
		return
	}
	e := event{at: b.hooks.Now(), kind: kind, detail: detail}
	if be != nil {
		e.backend = be.Endpoint().String()
	}
	b.events.mu.Lock()
	b.events.ring[b.events.n%maxEvents] = e
	b.events.n++
	suppressed, ok := b.events.mayLog(e)
	b.events.mu.Unlock()
	if ok && b.logger().Enabled(context.Background(), lines[kind].level) {
		b.hooks.AfterFunc(0, func() { b.log(e, suppressed) }) // a handler may do whatever it likes, even make requests
	}
}

// mayLog reports whether an event is to be logged, and how many were not. It is
// called with mu held.
func (l *events) mayLog(e event) (suppressed int, ok bool) {
	if lines[e.kind].level < slog.LevelInfo {
		return 0, true // who wants these wants them all
	}
	if e.at-l.period >= int64(logPeriod) {
		suppressed = max(l.logged-logsInAWhole, 0)
		l.period, l.logged = e.at, 0
	}
	l.logged++
	return suppressed, l.logged <= logsInAWhole
}

func (b *Balancer) logger() *slog.Logger { return cmp.Or(b.hooks.Logger, slog.Default()) }

func (b *Balancer) log(e event, suppressed int) {
	attrs := []slog.Attr{slog.String("target", b.hooks.Name), slog.String("adapter", b.hooks.Adapter)}
	if b.hooks.Client != "" {
		attrs = append(attrs, slog.String("client", b.hooks.Client))
	}
	if e.backend != "" {
		attrs = append(attrs, slog.String("backend", e.backend))
	}
	if e.detail != "" {
		attrs = append(attrs, slog.String("detail", e.detail))
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", suppressed))
	}
	b.logger().LogAttrs(context.Background(), lines[e.kind].level, lines[e.kind].message, attrs...) //nolint:sloglint // one of few
}

// latest returns the events that are kept, the oldest first.
func (l *events) latest(toTime func(int64) time.Time) []balancer.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := make([]balancer.Event, 0, min(l.n, maxEvents))
	for i := max(l.n-maxEvents, 0); i < l.n; i++ {
		e := l.ring[i%maxEvents]
		kept = append(kept, balancer.Event{At: toTime(e.at), Kind: e.kind, Backend: e.backend, Detail: e.detail})
	}
	return kept
}
