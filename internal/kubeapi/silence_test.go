package kubeapi

import (
	"fmt"
	"io"
	"testing"
	"time"
)

// listen is playStreaming with answers to the inquiries that silence leads to.
func listen(t *testing.T, length time.Duration, inquiry []answer, answers ...answer) *transcript {
	t.Helper()
	return perform(t, length, func(*ListWatch[*EndpointSlice]) {}, answers, inquiry...)
}

// first is a streaming list of a slice named a, and a watch that brings nothing more.
func first(version string) answer {
	return streamOf(hang, eventOf(Added, "a", "5"), endOf(version))
}

func tooLarge(version string) answer {
	return answer{status: 504, body: fmt.Sprintf(`{"kind":"Status","code":504,"reason":"Timeout","message":"Too large resource version: %s, current: 3",`+
		`"details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1}}`, version)}
}

func TestASilentWatchGoesOnWhileTheServerHasNothingElse(t *testing.T) {
	quiet := []answer{}
	for range 100 {
		quiet = append(quiet, listOf("7", "a"))
		quiet[len(quiet)-1].body = `{"metadata":{"resourceVersion":"7"},"items":[` + object("a", "5") + `]}`
	}
	watches := []answer{first("7")}
	for range 100 {
		watches = append(watches, streamOf(hang))
	}
	tr := listen(t, 2*time.Hour, quiet, watches...)
	if n := len(tr.requests); n < 12 || n > 24 {
		t.Errorf("%d watches in two hours of silence, want 12 to 24", n)
	}
	if len(tr.asked) > len(tr.requests) {
		t.Errorf("the server was asked %d times in %d watches", len(tr.asked), len(tr.requests))
	}
	if after := tr.asked[0].after; after != 150*time.Second || tr.asked[0].query.Get("resourceVersion") != "7" {
		t.Errorf("asked first after %v: %v", after, tr.asked[0].query)
	}
	if tr.kinds()[:len("streaming, watch")] != "streaming, watch" || len(tr.lists()) > 0 || len(tr.failures) > 0 {
		t.Errorf("requests: %s; failures %v", tr.kinds(), tr.failures)
	}
}

func TestAServerThatIsSetBackIsReadAnew(t *testing.T) {
	for name, says := range map[string]answer{
		"it says that the version is too large": tooLarge("7"),
		"its list is older":                     listOf("3", "a"),
		"its list is the same, but older":       {body: `{"metadata":{"resourceVersion":"6"},"items":[` + object("a", "5") + `]}`},
	} {
		t.Run(name, func(t *testing.T) {
			tr := listen(t, 4*time.Minute, []answer{says}, first("7"), streamOf(hang, eventOf(Added, "b", "2"), endOf("3")))
			if got := tr.text(); got != "replace a, healthy, replace b, healthy" {
				t.Errorf("calls: %s", got)
			}
			if q := tr.requests[1].query; q.Get("sendInitialEvents") != "true" || q.Has("resourceVersion") {
				t.Errorf("read anew by %v", q)
			}
		})
	}
}

func TestAWatchThatDoesNotBringWhatTheServerHasIsReadAnew(t *testing.T) {
	tr := listen(t, 4*time.Minute, []answer{listOf("9", "a", "b")}, first("7"), streamOf(hang, eventOf(Added, "a", "5"), eventOf(Added, "b", "8"), endOf("9")))
	if got := tr.text(); got != "replace a, healthy, replace a b, healthy" {
		t.Errorf("calls: %s", got)
	}
	if after := tr.requests[1].after; after != 155*time.Second {
		t.Errorf("read anew after %v", after)
	}
}

func TestAnAnswerThatDoesNotTellLeavesTheWatchAlone(t *testing.T) {
	for name, says := range map[string]answer{
		"may not list": {status: 403},
		"busy":         {status: 429},
		"no such":      {status: 404},
		"another 504":  {status: 504, body: "upstream timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := listen(t, 5*time.Minute, []answer{says}, first("7"))
			if len(tr.requests) != 1 || len(tr.asked) != 1 || len(tr.failures) > 0 {
				t.Errorf("requests: %s, asked %d times, failures %v", tr.kinds(), len(tr.asked), tr.failures)
			}
		})
	}
}

func TestASilentWatchIsResumedWhereTheServerDoesNotAnswer(t *testing.T) {
	for name, says := range map[string]answer{
		"unreachable": {err: io.ErrUnexpectedEOF},
		"mute":        {mute: true},
	} {
		t.Run(name, func(t *testing.T) {
			tr := listen(t, 4*time.Minute, []answer{says}, first("7"), streamOf(hang, eventOf(Modified, "a", "8")))
			if got := tr.text(); got != "replace a, healthy, healthy, MODIFIED a" {
				t.Errorf("calls: %s", got)
			}
			if tr.kinds() != "streaming, watch" || tr.requests[1].query.Get("resourceVersion") != "7" {
				t.Errorf("requests: %s", tr.kinds())
			}
		})
	}
}

func TestAWatchWhoseEndDoesNotComeIsResumed(t *testing.T) {
	tr := listen(t, 10*time.Minute, nil, first("7"))
	if tr.kinds() != "streaming, watch" {
		t.Errorf("requests: %s", tr.kinds())
	}
}
