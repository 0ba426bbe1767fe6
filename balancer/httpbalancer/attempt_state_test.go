package httpbalancer

import (
	"math/rand/v2"
	"sync"
	"testing"
)

var (
	attemptStates = []string{"connecting", "sending", "failed", "answered", "upgraded", "replaced", "interrupted", "ended"}
	attemptEvents = []string{"conn", "failed", "answer", "upgrade", "replaceUnsent", "replace", "callerGone", "end"}
)

// All pairs: what is not in the table comes too late.
func TestEachEventOfAnAttemptCountsInTheStatesItIsFor(t *testing.T) {
	want := map[[2]string]string{
		{"connecting", "conn"}:          "sending",
		{"connecting", "failed"}:        "failed",
		{"sending", "failed"}:           "failed",
		{"sending", "answer"}:           "answered",
		{"sending", "upgrade"}:          "upgraded",
		{"connecting", "replaceUnsent"}: "replaced",
		{"connecting", "replace"}:       "replaced",
		{"sending", "replace"}:          "replaced",
		{"sending", "callerGone"}:       "interrupted",
		{"answered", "callerGone"}:      "interrupted",
		{"replaced", "callerGone"}:      "replaced",
	}
	for s, state := range attemptStates {
		for e, event := range attemptEvents {
			next, counts := attemptState(s).after(attemptEvent(e))
			wanted, wantCounts := want[[2]string{state, event}]
			if event == "end" {
				wanted, wantCounts = "ended", state != "ended"
			}
			if !wantCounts {
				wanted = state
			}
			if got := attemptStates[next]; got != wanted || counts != wantCounts {
				t.Errorf("%s, %s: %s, %v, want %s, %v", state, event, got, counts, wanted, wantCounts)
			}
		}
	}
}

// Whoever comes first decides, and nobody decides twice.
func TestOfEventsAtTheSameTimeOneDecides(t *testing.T) {
	deciding := []attemptEvent{eventFailed, eventAnswer, eventUpgrade, eventReplace, eventCallerGone}
	for range 2000 {
		var life attemptLife
		life.step(eventConn)
		var mu sync.Mutex
		var counted []attemptEvent
		ends := 0
		var all sync.WaitGroup
		for _, i := range rand.Perm(len(deciding)) {
			all.Go(func() {
				before, ok := life.step(deciding[i])
				mu.Lock()
				defer mu.Unlock()
				if ok && before == stateSending {
					counted = append(counted, deciding[i])
				}
			})
		}
		all.Wait()
		for range 3 {
			all.Go(func() {
				_, ok := life.step(eventEnd)
				mu.Lock()
				defer mu.Unlock()
				if ok {
					ends++
				}
			})
		}
		all.Wait()
		if len(counted) != 1 || ends != 1 {
			t.Fatalf("%d events decided (%v), and it ended %d times", len(counted), counted, ends)
		}
	}
}
