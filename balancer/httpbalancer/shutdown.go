package httpbalancer

import (
	"context"

	"github.com/sidestep-lb/sidestep/discovery"
)

// Close ends all watches, waits for the requests to Services that are in flight,
// but no longer than the DrainTimeout, and closes their connections. New
// requests, and those that have not been sent yet, fail with an error that wraps
// discovery.ErrClosed. Close may be called more than once; it returns nil.
func (t *Transport) Close() error {
	t.close()
	<-t.drained
	return nil
}

// Shutdown is Close for a caller that does not want to wait for longer than ctx
// lasts. It returns nil when all requests have ended and all connections are closed,
// and else the error of ctx. The requests that are in flight then go on: to their
// end, or to that of the DrainTimeout.
func (t *Transport) Shutdown(ctx context.Context) error {
	t.close()
	select {
	case <-t.drained:
		return nil
	default:
	}
	select {
	case <-t.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close refuses new requests, and closes drained when the others have ended.
func (t *Transport) close() {
	t.closing.Do(func() {
		t.mu.Lock()
		t.closed.Store(true)
		pools := *t.pools.Load()
		t.pools.Store(&map[discovery.Target]*pool{})
		if t.sweep != nil && t.sweep.Stop() {
			t.sweeps.Done()
		}
		t.mu.Unlock()
		go func() {
			defer close(t.drained)
			t.drain(distinct(pools))
		}()
	})
}

func (t *Transport) drain(pools map[*pool]struct{}) {
	t.names.close()
	for p := range pools {
		p.stop()
	}
	for p := range pools {
		p.wait()
	}
	t.sweeps.Wait()
	t.base.CloseIdleConnections()
}
