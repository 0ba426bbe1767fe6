package kubeapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// notSupported is how a server refuses streaming lists that has them switched
// off.
var notSupported = answer{
	status: http.StatusUnprocessableEntity,
	body:   statusOf(422, "Invalid", "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"),
}

func TestAStreamingListIsHandedOnWholeAndItsStreamGoesOnAsTheWatch(t *testing.T) {
	tr := playStreaming(t, time.Minute, streamOf(hang,
		eventOf("ADDED", "b", "3"), eventOf("ADDED", "a", "5"), eventOf("ADDED", "c", "4"),
		eventOf("MODIFIED", "a", "6"), eventOf("DELETED", "c", "7"),
		endOf("7"), eventOf("ADDED", "d", "8")))
	if got := tr.text(); got != "replace a b, healthy, ADDED d" {
		t.Errorf("calls: %s", got)
	}
	if len(tr.requests) != 1 {
		t.Fatalf("%d requests, want 1", len(tr.requests))
	}
	query := tr.requests[0].query
	if seconds, err := strconv.Atoi(query.Get("timeoutSeconds")); err != nil || seconds < 300 || seconds > 600 {
		t.Errorf("timeoutSeconds=%s, want 300 to 600", query.Get("timeoutSeconds"))
	}
	query.Del("timeoutSeconds")
	const want = "allowWatchBookmarks=true&labelSelector=kubernetes.io%2Fservice-name%3Dquiz&resourceVersion=0" +
		"&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&watch=1"
	if got := query.Encode(); got != want {
		t.Errorf("asks for %s", got)
	}
}

func TestAStreamingListOfNothingIsHandedOn(t *testing.T) {
	if got := playStreaming(t, time.Minute, streamOf(hang, endOf("7"))).text(); got != "replace, healthy" {
		t.Errorf("calls: %s", got)
	}
}

func TestAWatchGoesOnFromTheEndOfTheStreamingListNotFromTheVersionOfAnObject(t *testing.T) {
	tr := playStreaming(t, time.Minute, streamOf(eof, eventOf("ADDED", "a", "900"), endOf("7")), streamOf(hang))
	if got := tr.requests[1]; got.isStreaming() || got.query.Get("resourceVersion") != "7" {
		t.Errorf("went on with %v", got.query)
	}
}

func TestAServerWithoutStreamingListsIsAskedForAPlainOneAtOnce(t *testing.T) {
	for name, refusal := range map[string]answer{
		"switched off":     notSupported,
		"unreadable query": {status: http.StatusBadRequest, body: "what?"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := playStreaming(t, time.Minute, refusal,
				listOf("7", "a"), answer{status: http.StatusGone}, listOf("8", "b"), streamOf(hang))
			if got := tr.text(); got != "replace a, replace b, healthy" {
				t.Errorf("calls: %s", got)
			}
			// The refusal is remembered.
			if got := tr.kinds(); got != "streaming, list, watch, list, watch" {
				t.Errorf("requests: %s", got)
			}
			if after := tr.requests[1].after; after != 0 {
				t.Errorf("listed after %v", after)
			}
		})
	}
}

func TestWhoMayListButNotWatchHasAtLeastAList(t *testing.T) {
	forbidden := answer{status: http.StatusForbidden, body: statusOf(403, "Forbidden", "cannot watch")}
	tr := playStreaming(t, time.Minute, forbidden, listOf("7", "a"), forbidden, answer{status: http.StatusGone}, streamOf(hang, endOf("9")))
	if got := tr.text(); got != "replace a, failed, replace, healthy" {
		t.Errorf("calls: %s", got)
	}
	// It says nothing about the server, which is asked for a streaming list again.
	if got := tr.kinds(); got != "streaming, list, watch, watch, streaming" {
		t.Errorf("requests: %s", got)
	}
}

func TestWhoMayDoNeitherIsToldTheSameEachTime(t *testing.T) {
	tr := playStreaming(t, time.Minute, slices.Repeat([]answer{
		{status: http.StatusForbidden, body: statusOf(403, "Forbidden", "cannot watch")},
		{status: http.StatusForbidden, body: statusOf(403, "Forbidden", "cannot list")},
	}, 100)...)
	for _, err := range tr.failures {
		if err.Error() != "HTTP status 403 Forbidden: cannot list" {
			t.Errorf("failure: %v", err)
		}
	}
	if len(tr.failures) == 0 || len(tr.requests) > 60 {
		t.Errorf("%d failures in %d requests", len(tr.failures), len(tr.requests))
	}
}

func TestAServerThatIgnoresWhatMakesAListStreamingIsAskedForAPlainOneSoon(t *testing.T) {
	tr := playStreaming(t, time.Minute,
		streamOf(hang, eventOf("ADDED", "a", "3"), eventOf("BOOKMARK", "", "9")), listOf("10", "a", "b"), streamOf(hang))
	if got := tr.text(); got != "replace a b, healthy" {
		t.Errorf("calls: %s", got)
	}
	if got := tr.kinds(); got != "streaming, list, watch" {
		t.Errorf("requests: %s", got)
	}
	if after := tr.requests[1].after; after != endSilence {
		t.Errorf("listed after %v", after)
	}
}

func TestAServerIsAskedForAStreamingListAgainAfterAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s streaming
		if !s.worthTrying() {
			t.Error("not tried at all")
		}
		s.learn(errNoStreaming)
		time.Sleep(59 * time.Minute) // of virtual time
		if s.worthTrying() {
			t.Error("tried again within the hour")
		}
		time.Sleep(time.Minute) // of virtual time
		if !s.worthTrying() {
			t.Error("not tried again after an hour")
		}
	})
}

func TestNothingOfAStreamingListThatBreaksOffIsHandedOn(t *testing.T) {
	some := eventOf("ADDED", "a", "3")
	for name, broken := range map[string]answer{
		"cut":                {body: some, then: cut},
		"ended":              {body: some},
		"within an event":    {body: some + `{"type":"ADD`},
		"malformed":          {body: some + "\x00", then: hang},
		"no name":            {body: some + `{"type":"ADDED","object":{}}`, then: hang},
		"end without number": {body: some + endOf(""), then: hang},
	} {
		t.Run(name, func(t *testing.T) {
			tr := playStreaming(t, time.Minute, broken, listOf("7", "b"), streamOf(hang))
			if got := tr.text(); got != "replace b, healthy" {
				t.Errorf("calls: %s", got)
			}
			if got := tr.kinds(); got != "streaming, list, watch" {
				t.Errorf("requests: %s", got)
			}
		})
	}
}

func TestAStreamingListThatFailsIsReportedAndFollowedByAPlainOne(t *testing.T) {
	for name, failed := range map[string]answer{
		"refused":     {err: errors.New("connection refused")},
		"busy":        {status: http.StatusTooManyRequests},
		"error event": streamOf(hang, fmt.Sprintf(`{"type":"ERROR","object":%s}`, statusOf(500, "InternalError", "etcd"))),
		"mute":        {mute: true}, // or a proxy that lets no stream through
	} {
		t.Run(name, func(t *testing.T) {
			tr := playStreaming(t, 2*time.Minute, failed, listOf("7", "a"), streamOf(hang))
			if got := tr.text(); got != "failed, replace a, healthy" {
				t.Errorf("calls: %s", got)
			}
		})
	}
}

func TestStreamingAndPlainListsTakeTurnsWhileNeitherWorks(t *testing.T) {
	down := answer{err: errors.New("connection refused")}
	tr := playStreaming(t, time.Minute, down, down, down, down, streamOf(hang, endOf("7")))
	if got := tr.kinds(); got != "streaming, list, streaming, list, streaming" {
		t.Errorf("requests: %s", got)
	}
}

func TestAForgottenVersionLeadsToAFreshStreamingList(t *testing.T) {
	tr := playStreaming(t, time.Minute,
		streamOf(eof, eventOf("ADDED", "a", "3"), eventOf("ADDED", "b", "3"), endOf("7"), eventOf("MODIFIED", "a", "8")),
		answer{status: http.StatusGone},
		streamOf(hang, eventOf("ADDED", "b", "3"), endOf("90")))
	if got := tr.text(); got != "replace a b, healthy, MODIFIED a, replace b, healthy" {
		t.Errorf("calls: %s", got)
	}
	if again := tr.requests[2]; !again.isStreaming() || again.query.Has("resourceVersion") || again.after != 0 {
		t.Errorf("after %v with %v, want at once a streaming list with no version", again.after, again.query)
	}
}

func TestAServerThatForgetsEveryStreamingListIsNotAskedInATightLoop(t *testing.T) {
	var answers []answer
	for range 1000 {
		answers = append(answers, streamOf(hang, endOf("7"),
			fmt.Sprintf(`{"type":"ERROR","object":%s}`, statusOf(410, "Expired", "gone"))))
	}
	if tr := playStreaming(t, time.Minute, answers...); len(tr.requests) > 60 {
		t.Errorf("%d requests in a minute", len(tr.requests))
	}
}

func TestTheStartCanBeSpread(t *testing.T) {
	first := func(jitter time.Duration) time.Duration {
		tr := perform(t, time.Minute, func(lw *ListWatch[*EndpointSlice]) { lw.Timing.SpreadUntil = time.Now().Add(jitter) }, nil)
		return tr.requests[0].after
	}
	if after := first(0); after != 0 {
		t.Errorf("by default the first request comes after %v", after)
	}
	var earliest, latest time.Duration = time.Hour, 0
	for range 50 {
		after := first(10 * time.Second)
		earliest, latest = min(earliest, after), max(latest, after)
	}
	if earliest > 5*time.Second || latest < 5*time.Second || latest > 10*time.Second {
		t.Errorf("the first requests come after %v to %v", earliest, latest)
	}
}

func TestAListMayHaveToBeNoOlderThanTheRequest(t *testing.T) {
	for name, prepare := range map[string]func(*ListWatch[*EndpointSlice]){
		"streaming": func(lw *ListWatch[*EndpointSlice]) { lw.Fresh = true },
		"plain":     func(lw *ListWatch[*EndpointSlice]) { lw.Fresh = true; lw.Client.streaming.learn(errNoStreaming) },
	} {
		tr := perform(t, time.Second, prepare, nil)
		if query := tr.requests[0].query; query.Has("resourceVersion") || query.Has("sendInitialEvents") != (name == "streaming") {
			t.Errorf("%s: asks for %v", name, query)
		}
	}
}

func TestAListOfTooManyObjectsIsAnError(t *testing.T) {
	limit := func(n int) func(*ListWatch[*EndpointSlice]) {
		return func(lw *ListWatch[*EndpointSlice]) { lw.MaxObjects = n }
	}
	answers := []answer{
		streamOf(hang, eventOf("ADDED", "a", "1"), eventOf("ADDED", "b", "2"), endOf("2")),
		listOf("2", "a", "b"),
	}
	tr := perform(t, 5*time.Second, limit(1), answers)
	if len(tr.failures) != 2 || !errors.Is(tr.failures[0], ErrTooMany) || !errors.Is(tr.failures[1], ErrTooMany) || tr.kinds() != "streaming, list, streaming" {
		t.Errorf("failures %v, requests %s", tr.failures, tr.kinds())
	}
	if got := perform(t, 5*time.Second, limit(2), answers).text(); got != "replace a b, healthy" {
		t.Errorf("calls: %s", got)
	}
}

func TestAnObjectThatIsNullOrNamelessIsNone(t *testing.T) {
	for _, object := range []string{"null", "{}", `{"metadata":null}`} {
		tr := playStreaming(t, time.Second, streamOf(hang, fmt.Sprintf(`{"type":"ADDED","object":%s}`, object), endOf("2")))
		if got := tr.text(); got != "" {
			t.Errorf("%s: %s", object, got)
		}
	}
}
