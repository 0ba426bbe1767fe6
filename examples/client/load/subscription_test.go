package load

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestSubscriptionThatEndsIsOpenedAgain(t *testing.T) {
	var n atomic.Int64
	way := serveHTTP(t, http.MethodGet, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/subscription" {
			t.Errorf("a request for %s", r.URL.Path)
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		if n.Add(1) == 3 {
			<-r.Context().Done()
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l := newLoad(way, 1, time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.keepSubscribed(ctx)
	}()
	for l.result(time.Now()).Subscriptions < 3 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if got := l.result(time.Now()).Subscriptions; got != 3 {
		t.Errorf("%d subscriptions were opened, want 3", got)
	}
}
