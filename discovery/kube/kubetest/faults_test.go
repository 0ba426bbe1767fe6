package kubetest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

const live = "?watch=1&resourceVersion=1"

func TestOutageCutsWatchesAndRefusesConnectionsUntilRestored(t *testing.T) {
	server := start(t)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	stream := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=2")
	address := server.URL()

	server.Outage()
	if n := server.Watches(); n != 0 {
		t.Errorf("%d watches are running in an outage", n)
	}
	stream.wantEnd(io.ErrUnexpectedEOF)
	response, err := send(t, server, slicesPath, nil)
	if err == nil {
		response.Body.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want connection refused", err)
	}
	server.Outage()
	server.SetEndpointSlice(slice("quiz-2", "10.0.0.2"))

	if err := errors.Join(server.Restore(), server.Restore()); err != nil {
		t.Fatal(err)
	}
	if server.URL() != address {
		t.Errorf("moved from %s to %s", address, server.URL())
	}
	openWatch(t, server, slicesPath+"?watch=1&resourceVersion=2").want("ADDED", "quiz-2")
}

func TestDroppedWatchesEndAbruptly(t *testing.T) {
	server := start(t)
	stream := openWatch(t, server, slicesPath+live)
	server.DropWatches()
	if n := server.Watches(); n != 0 {
		t.Errorf("%d watches count after being dropped", n)
	}
	stream.wantEnd(io.ErrUnexpectedEOF)
}

func TestDropEndsAWatchThatIsBlockedByItsClient(t *testing.T) {
	server := start(t)
	openWatch(t, server, slicesPath+live)
	server.SendRaw(strings.Repeat("x", 6_000_000)) // more than the connection holds
	server.DropWatches()
	server.Close() // waits for the handler
}

func TestEndedWatchesFinishWhatWasChangedBefore(t *testing.T) {
	server := start(t)
	stream := openWatch(t, server, slicesPath+live)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	server.EndWatches()
	server.SetEndpointSlice(slice("quiz-2", "10.0.0.1"))
	stream.want("ADDED", "quiz-1")
	stream.wantEnd(io.EOF)
}

func TestExpiredWatchesGetAnErrorEvent(t *testing.T) {
	server := start(t)
	stream := openWatch(t, server, slicesPath+live)
	server.ExpireWatches()
	if o := stream.want("ERROR", ""); o.Kind != "Status" || o.Code != 410 || o.Reason != "Expired" {
		t.Errorf("got %s", o.raw)
	}
	stream.wantEnd(io.EOF)
}

func TestAnEventIsCutInTheMiddle(t *testing.T) {
	server := start(t)
	response, err := send(t, server, slicesPath+live, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	server.CutMidEvent()
	got, err := io.ReadAll(response.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(string(got), `{"type":"MODIFIED","object":{`) || json.Valid(got) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRawTextComesInOrderWithChanges(t *testing.T) {
	server := start(t)
	response, err := send(t, server, slicesPath+live, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	server.SendRaw("{\"type\":\"ODD\"}\nnonsense\n")
	server.SetEndpointSlice(slice("quiz-2", "10.0.0.1"))
	lines := bufio.NewScanner(response.Body)
	for _, want := range []string{`"name":"quiz-1"`, `{"type":"ODD"}`, `nonsense`, `"name":"quiz-2"`} {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Errorf("got %q, %v, want %s", lines.Text(), lines.Err(), want)
		}
	}
}

func TestAStalledServerSendsNothingUntilItResumes(t *testing.T) {
	server := start(t)
	stream := openWatch(t, server, slicesPath+live)
	server.Stall()
	server.Stall()
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL()+slicesPath, nil)
	response, err := server.Client().Do(request)
	if err == nil {
		response.Body.Close()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stalled server answers: %v", err)
	}
	if server.Watches() != 1 {
		t.Error("the watch has not stayed open")
	}
	server.Resume()
	server.Resume()
	stream.want("ADDED", "quiz-1")
	if code, _ := get(t, server, slicesPath); code != http.StatusOK {
		t.Error(code)
	}
}

func TestAStalledWatchCanBeDropped(t *testing.T) {
	server := start(t)
	stream := openWatch(t, server, slicesPath+live)
	server.Stall()
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	server.DropWatches()
	stream.wantEnd(io.ErrUnexpectedEOF)
}

func TestForbiddenRequestsAreToldWhatTheyMayNot(t *testing.T) {
	server := start(t)
	server.Forbid(kubetest.List, kubetest.EndpointSlices)
	server.Forbid(kubetest.Any, kubetest.Services)
	const who = `User "system:serviceaccount:default:default" cannot `
	for path, want := range map[string]string{
		slicesPath:                 `endpointslices.discovery.k8s.io is forbidden: ` + who + `list resource "endpointslices" in API group "discovery.k8s.io" in the namespace "kiada"`,
		servicesPath + "/quiz":     `services "quiz" is forbidden: ` + who + `get resource "services" in API group "" in the namespace "kiada"`,
		"/api/v1/services?watch=1": `services is forbidden: ` + who + `watch resource "services" in API group "" at the cluster scope`,
		servicesPath + "?fieldSelector=metadata.name%3Dquiz": `services "quiz" is forbidden: ` + who + `list resource "services" in API group "" in the namespace "kiada"`,
	} {
		code, o := get(t, server, path)
		if code != http.StatusForbidden || o.Reason != "Forbidden" || o.Message != want {
			t.Errorf("got %d %s\nwant %s", code, o.Message, want)
		}
	}
	openWatch(t, server, slicesPath+live)
	server.Allow(kubetest.Any, kubetest.Any)
	for _, path := range []string{slicesPath, servicesPath} {
		if code, _ := get(t, server, path); code != http.StatusOK {
			t.Errorf("%s: still %d", path, code)
		}
	}
}

func TestATokenIsRequired(t *testing.T) {
	server := start(t)
	server.RequireToken("secret")
	if code, o := get(t, server, slicesPath); code != http.StatusUnauthorized || o.Reason != "Unauthorized" {
		t.Errorf("got %d %s", code, o.raw)
	}
	response, err := send(t, server, slicesPath, http.Header{"Authorization": {"Bearer secret"}})
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Error(response.Status)
	}
}

func TestFailuresAreCounted(t *testing.T) {
	server := start(t)
	server.Fail(http.StatusTooManyRequests, 2, 1500*time.Millisecond)
	for range 2 {
		response, err := send(t, server, slicesPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "2" {
			t.Errorf("got %s, Retry-After %q", response.Status, response.Header.Get("Retry-After"))
		}
	}
	if code, _ := get(t, server, slicesPath); code != http.StatusOK {
		t.Errorf("got %d after the failures", code)
	}
	server.Fail(http.StatusServiceUnavailable, -1, 0)
	for range 3 {
		if code, o := get(t, server, slicesPath); code != 503 || o.Reason != "ServiceUnavailable" {
			t.Errorf("got %d %s", code, o.raw)
		}
	}
	server.Fail(0, 0, 0)
	if code, _ := get(t, server, slicesPath); code != http.StatusOK {
		t.Errorf("got %d", code)
	}
}

func TestAnswersCanBeSlow(t *testing.T) {
	server := start(t)
	server.SetDelay(30 * time.Millisecond)
	began := time.Now()
	get(t, server, slicesPath)
	if took := time.Since(began); took < 30*time.Millisecond {
		t.Errorf("took %v", took)
	}
	server.SetDelay(0)

	server.SlowStream(20, time.Millisecond)
	stream := openWatch(t, server, slicesPath+live)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	began = time.Now()
	stream.want("ADDED", "quiz-1")
	if took := time.Since(began); took < 10*time.Millisecond {
		t.Errorf("an event of about 500 bytes took %v", took)
	}
	server.SlowStream(0, 0)
	get(t, server, slicesPath)
}
