package kubeapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAListComesFirstFromTheServersCacheAndThenAWatchFromItsVersion(t *testing.T) {
	tr := play(t, time.Minute, listOf("7", "a", "b"))
	if got := tr.text(); got != "replace a b, healthy" {
		t.Errorf("calls: %s", got)
	}
	if len(tr.requests) != 2 {
		t.Fatalf("%d requests, want 2", len(tr.requests))
	}
	list, watch := tr.requests[0].query, tr.requests[1].query
	if got := list.Encode(); got != "labelSelector=kubernetes.io%2Fservice-name%3Dquiz&resourceVersion=0" {
		t.Errorf("list asks for %s", got)
	}
	if watch.Get("resourceVersion") != "7" || watch.Get("allowWatchBookmarks") != "true" || watch.Get("watch") != "1" {
		t.Errorf("watch asks for %v", watch)
	}
	if seconds, err := strconv.Atoi(watch.Get("timeoutSeconds")); err != nil || seconds < 300 || seconds > 600 {
		t.Errorf("timeoutSeconds=%s, want 300 to 600", watch.Get("timeoutSeconds"))
	}
}

func TestAWatchThatTheServerEndsIsResumedAtOnceWithoutAList(t *testing.T) {
	tr := play(t, time.Minute,
		listOf("7", "a"),
		streamOf(eof, eventOf("MODIFIED", "a", "8"), eventOf("DELETED", "a", "9"), eventOf("BOOKMARK", "", "12")),
		streamOf(hang, eventOf("ADDED", "b", "13")),
	)
	if got := tr.text(); got != "replace a, healthy, MODIFIED a, DELETED a, healthy, ADDED b" {
		t.Errorf("calls: %s", got)
	}
	last := tr.requests[len(tr.requests)-1]
	if last.query.Get("resourceVersion") != "12" || last.after != 0 {
		t.Errorf("resumed after %v from version %s, want at once from the bookmark's, 12", last.after, last.query.Get("resourceVersion"))
	}
}

func TestAForgottenVersionLeadsToAFreshListAsAStatusAndAsAnEvent(t *testing.T) {
	expired := statusOf(410, "Expired", "too old resource version: 7 (90)")
	for name, gone := range map[string]answer{
		"status": {status: http.StatusGone, body: expired},
		"event":  streamOf(hang, fmt.Sprintf(`{"type":"ERROR","object":%s}`, expired)),
	} {
		t.Run(name, func(t *testing.T) {
			tr := play(t, time.Minute,
				listOf("7", "a", "b"),
				streamOf(eof, eventOf("MODIFIED", "a", "8")),
				gone,
				listOf("90", "b"),
			)
			if got := tr.text(); strings.ReplaceAll(got, "healthy, ", "") != "replace a b, MODIFIED a, replace b, healthy" {
				t.Errorf("calls: %s", got)
			}
			again := tr.lists()[1]
			if again.query.Has("resourceVersion") || again.after != 0 {
				t.Errorf("listed again after %v with %v, want at once with no version", again.after, again.query)
			}
		})
	}
}

func TestAServerThatForgetsEveryVersionIsNotAskedInATightLoop(t *testing.T) {
	var answers []answer
	for range 1000 {
		answers = append(answers, listOf("7", "a"), answer{status: http.StatusGone})
	}
	if tr := play(t, time.Minute, answers...); len(tr.requests) > 60 {
		t.Errorf("%d requests in a minute", len(tr.requests))
	}
}

func TestAnEventOfUnknownTypeIsSkipped(t *testing.T) {
	tr := play(t, time.Minute, listOf("7"), streamOf(hang,
		`{"type":"RENAMED","object":{"kind":"Poem"}}`, `{"type":"SILENCE"}`, eventOf("ADDED", "a", "8")))
	if got := tr.text(); got != "replace, healthy, ADDED a" {
		t.Errorf("calls: %s", got)
	}
}

func TestAnEventCutInTheMiddleIsReadAgainFromTheLastVersion(t *testing.T) {
	whole := eventOf("MODIFIED", "a", "9")
	for name, then := range map[string]ending{"connection broken": cut, "proper end": eof} {
		t.Run(name, func(t *testing.T) {
			tr := play(t, time.Minute,
				listOf("7", "a"),
				streamOf(then, eventOf("MODIFIED", "a", "8"), whole[:len(whole)/2]),
				streamOf(hang, whole),
			)
			if got := tr.text(); got != "replace a, healthy, MODIFIED a, healthy, MODIFIED a" {
				t.Errorf("calls: %s", got)
			}
			if again := tr.requests[2]; again.query.Get("resourceVersion") != "8" || again.after > 800*time.Millisecond {
				t.Errorf("resumed after %v from version %s", again.after, again.query.Get("resourceVersion"))
			}
		})
	}
}

func TestAStreamThatBreaksOffTwiceIsReportedAndAnsweredByAList(t *testing.T) {
	for name, bad := range map[string]string{
		"malformed":     `{"type":"MODIFIED","object":` + "\x00}",
		"cut":           `{"type":"MODI`,
		"no name":       `{"type":"ADDED","object":{"metadata":{"resourceVersion":"8"}}}`,
		"null object":   `{"type":"ADDED","object":null}`,
		"no object":     `{"type":"DELETED"}`,
		"wrong types":   `{"type":"ADDED","object":{"metadata":{"name":"a"},"endpoints":"many"}}`,
		"no JSON":       `<html>`,
		"a list":        `[]`,
		"too large":     `{"type":"ADDED","object":{"metadata":{"name":"` + strings.Repeat("x", 5000) + `"}}}`,
		"broken status": `{"type":"ERROR","object":7}`,
	} {
		t.Run(name, func(t *testing.T) {
			tr := play(t, time.Minute, listOf("7", "a"), streamOf(eof, bad), streamOf(eof, bad), listOf("9", "b"))
			if got := tr.text(); got != "replace a, healthy, healthy, failed, replace b, healthy" {
				t.Errorf("calls: %s", got)
			}
		})
	}
}

func TestTheErrorOfAnEventThatIsTooLargeSaysTheLimit(t *testing.T) {
	large := `{"type":"ADDED","object":{"metadata":{"name":"` + strings.Repeat("x", 5000) + `"}}}`
	tr := play(t, time.Minute, listOf("7"), streamOf(eof, large), streamOf(eof, large))
	if len(tr.failures) == 0 || !strings.Contains(tr.failures[0].Error(), "larger than the limit of 4096 bytes") {
		t.Errorf("failures: %v", tr.failures)
	}
}

func TestManyEventsTogetherMayBeLargerThanTheLimit(t *testing.T) {
	var events []string
	for i := range 1000 {
		events = append(events, eventOf("MODIFIED", "a", strconv.Itoa(8+i)))
	}
	tr := play(t, time.Minute, listOf("7", "a"), streamOf(hang, events...))
	if got := len(tr.calls); got != 1002 || len(tr.failures) > 0 {
		t.Errorf("%d calls, failures %v", got, tr.failures)
	}
}

func TestAServerThatIsDownOrBusyIsAskedAgainForTheWatchNotForAList(t *testing.T) {
	for name, down := range map[string]answer{
		"refused":     {err: errors.New("connection refused")},
		"busy":        {status: http.StatusTooManyRequests},
		"broken":      {status: http.StatusServiceUnavailable, body: "upstream connect error"},
		"error event": streamOf(hang, fmt.Sprintf(`{"type":"ERROR","object":%s}`, statusOf(500, "InternalError", "etcd"))),
		"mute":        {mute: true},
		"at once":     streamOf(eof),
	} {
		t.Run(name, func(t *testing.T) {
			tr := play(t, 10*time.Minute, listOf("7", "a"), down, down, down)
			if got := strings.ReplaceAll(tr.text(), "healthy, ", ""); got != "replace a, failed, failed, failed, healthy" {
				t.Errorf("calls: %s", got)
			}
			if got := len(tr.lists()); got != 1 {
				t.Errorf("%d lists", got)
			}
		})
	}
}

func TestAServerThatNeverAnswersIsGivenUpOn(t *testing.T) {
	tr := play(t, 35*time.Second, answer{mute: true})
	if len(tr.failures) != 1 || !errors.Is(tr.failures[0], errNoAnswer) {
		t.Errorf("failures: %v", tr.failures)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	busy := answer{status: http.StatusTooManyRequests, header: http.Header{"Retry-After": {"20"}}}
	tr := play(t, time.Minute, listOf("7"), busy)
	if after := tr.requests[2].after; after < 20*time.Second || after > 21*time.Second {
		t.Errorf("asked again after %v", after)
	}
}

func TestBackoffGrowsToItsLimitAndStartsAfreshAfterTwoHealthyMinutes(t *testing.T) {
	answers := []answer{listOf("7")}
	for range 20 {
		answers = append(answers, answer{err: errors.New("connection refused")})
	}
	// The next watch hangs until it is given up, some time after it should have ended.
	answers = append(answers, streamOf(hang), answer{err: errors.New("connection refused")})
	tr := play(t, time.Hour, answers...)
	requests := tr.requests[1:]
	for i := 1; i < 21; i++ {
		limit := min(800*time.Millisecond<<(i-1), 30*time.Second)
		if pause := requests[i].after - requests[i-1].after; pause > limit+time.Millisecond {
			t.Errorf("pause %d is %v, want at most %v", i, pause, limit)
		}
	}
	if total := requests[20].after; total < time.Minute {
		t.Errorf("20 failures within %v", total)
	}
	if pause := requests[22].after - requests[21].after; pause > 800*time.Millisecond {
		t.Errorf("the first pause after a healthy time is %v", pause)
	}
}

func TestWhatIsNoListFromAnAPIServerIsNotTakenForAnEmptyOne(t *testing.T) {
	for name, body := range map[string]string{
		"empty object": `{}`,
		"page":         `<html>sign in</html>`,
		"null":         `null`,
		"cut":          `{"metadata":{"resourceVersion":"7"},"items":[`,
		"nothing":      ``,
	} {
		t.Run(name, func(t *testing.T) {
			tr := play(t, time.Minute, answer{body: body}, listOf("7", "a"))
			if got := tr.text(); got != "failed, replace a, healthy" {
				t.Errorf("calls: %s", got)
			}
		})
	}
}

func TestAnAnswerOtherThanSuccessIsAStatusError(t *testing.T) {
	tr := play(t, time.Minute,
		answer{status: http.StatusForbidden, body: statusOf(403, "Forbidden", "endpointslices is forbidden")},
		answer{status: http.StatusNotFound, body: "404 page\nnot found"},
		listOf("7"))
	want := []string{
		"HTTP status 403 Forbidden: endpointslices is forbidden",
		"HTTP status 404 Not Found: 404 page not found",
	}
	for i, err := range tr.failures {
		var status *StatusError
		if !errors.As(err, &status) || err.Error() != want[i] {
			t.Errorf("failure %d: %v", i, err)
		}
	}
	if len(tr.failures) != len(want) {
		t.Errorf("failures: %v", tr.failures)
	}
}
