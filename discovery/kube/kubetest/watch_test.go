package kubetest_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

func TestWatchTellsEachChange(t *testing.T) {
	server := start(t)
	stream := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=1")
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	server.SetService(kubetest.HeadlessService("kiada", "quiz", nil))
	server.SetEndpointSlice(kubetest.Slice("other", "quiz", "quiz-2", nil))
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.2"))
	server.DeleteEndpointSlice("kiada", "quiz-1")

	added := stream.want("ADDED", "quiz-1")
	if added.Kind != "EndpointSlice" || added.APIVersion != "discovery.k8s.io/v1" || added.Metadata.ResourceVersion != "2" {
		t.Errorf("added: %s", added.raw)
	}
	if o := stream.want("MODIFIED", "quiz-1"); o.Metadata.ResourceVersion != "5" {
		t.Errorf("modified: %s", o.raw)
	}
	if o := stream.want("DELETED", "quiz-1"); o.Metadata.ResourceVersion != "6" || !strings.Contains(string(o.raw), "10.0.0.2") {
		t.Errorf("want the last content at the new version: %s", o.raw)
	}
}

func TestWatchWithoutAVersionStartsWithWhatThereIs(t *testing.T) {
	for _, query := range []string{"?watch=true", "?watch=1&resourceVersion=0"} {
		server := start(t)
		server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
		stream := openWatch(t, server, slicesPath+query)
		stream.want("ADDED", "quiz-1")
		server.SetEndpointSlice(slice("quiz-2", "10.0.0.2"))
		stream.want("ADDED", "quiz-2")
	}
}

func TestWatchResumesFromAVersion(t *testing.T) {
	server := start(t)
	for i := range 5 {
		server.SetEndpointSlice(slice(fmt.Sprintf("quiz-%d", i), "10.0.0.1"))
	}
	stream := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=4")
	stream.want("ADDED", "quiz-3")
	stream.want("ADDED", "quiz-4")
}

func TestAnObjectEntersAndLeavesASelector(t *testing.T) {
	server := start(t)
	server.SetEndpointSlice(kubetest.Slice("kiada", "quote", "a", nil))
	stream := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=2&labelSelector=kubernetes.io%2Fservice-name%3Dquiz")
	server.SetEndpointSlice(slice("a", "10.0.0.1"))
	server.SetEndpointSlice(slice("a", "10.0.0.2"))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quote", "a", nil))
	server.DeleteEndpointSlice("kiada", "a")
	server.SetEndpointSlice(slice("end", "10.0.0.1"))
	stream.want("ADDED", "a")
	stream.want("MODIFIED", "a")
	if o := stream.want("DELETED", "a"); o.Metadata.ResourceVersion != "5" || !strings.Contains(string(o.raw), "10.0.0.2") {
		t.Errorf("want the old content at the new version: %s", o.raw)
	}
	stream.want("ADDED", "end")
}

func TestWatchOfOneNameSeesOnlyIt(t *testing.T) {
	server := start(t)
	stream := openWatch(t, server, servicesPath+"?watch=1&resourceVersion=1&fieldSelector=metadata.name%3Dquiz")
	server.SetService(kubetest.ClusterIPService("kiada", "quote", nil))
	server.SetService(kubetest.ExternalNameService("kiada", "quiz", "example.com"))
	stream.want("ADDED", "quiz")
}

func TestWatchTimesOutCleanlyAfterABookmark(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.SetEndpointSlice(kubetest.Slice("elsewhere", "quiz", "quiz-1", nil))
	began := time.Now()
	stream := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=1&timeoutSeconds=3&allowWatchBookmarks=true")
	silent := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=1&timeoutSeconds=3")
	if o := stream.want("BOOKMARK", ""); o.Metadata.ResourceVersion != "2" || o.Kind != "EndpointSlice" {
		t.Errorf("want the version of a change that was not selected: %s", o.raw)
	}
	if left := 3*time.Second - time.Since(began); left < time.Second {
		t.Errorf("the bookmark comes %v before the end, want 2 s", left)
	}
	stream.wantEnd(io.EOF)
	silent.wantEnd(io.EOF)
}

func TestBookmarksComePeriodicallyOnceSomethingHasChanged(t *testing.T) {
	server := start(t)
	server.SetBookmarkInterval(time.Millisecond)
	stream := openWatch(t, server, servicesPath+"?watch=1&resourceVersion=1&allowWatchBookmarks=1")
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))                    // of another resource
	server.SetService(kubetest.ClusterIPService("elsewhere", "quote", nil)) // and one that is not selected
	for range 3 {
		if o := stream.want("BOOKMARK", ""); o.Kind != "Service" || o.Metadata.ResourceVersion != "3" || o.Metadata.Annotations != nil {
			t.Errorf("bookmark %s", o.raw)
		}
	}
}

func TestThereAreNoBookmarksWhileNothingChanges(t *testing.T) {
	t.Parallel()
	server := start(t)
	server.SetBookmarkInterval(time.Millisecond)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	quiet := openWatch(t, server, servicesPath+"?watch=1&resourceVersion=2&allowWatchBookmarks=1&timeoutSeconds=3")
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.2"))
	quiet.wantEnd(io.EOF)
}

func TestAWatchWithoutAVersionIsAStreamingListWhereThereAreSome(t *testing.T) {
	server := start(t)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	for _, query := range []string{"?watch=1&allowWatchBookmarks=1", "?watch=1&allowWatchBookmarks=1&resourceVersion=0"} {
		stream := openWatch(t, server, slicesPath+query)
		stream.want("ADDED", "quiz-1")
		if o := stream.want("BOOKMARK", ""); o.Metadata.Annotations["k8s.io/initial-events-end"] != "true" {
			t.Errorf("%s: bookmark %s", query, o.raw)
		}
	}
	server.SetStreamingLists(false)
	stream := openWatch(t, server, slicesPath+"?watch=1&allowWatchBookmarks=1")
	stream.want("ADDED", "quiz-1")
	server.SetEndpointSlice(slice("quiz-2", "10.0.0.1"))
	stream.want("ADDED", "quiz-2")
}

func TestAWatchFromAVersionYetToComeIsSilentUntilThen(t *testing.T) {
	server := start(t)
	server.SetBookmarkInterval(time.Millisecond)
	stream := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=3&allowWatchBookmarks=1")
	for i := range 4 { // versions 2 to 5
		server.SetEndpointSlice(slice(fmt.Sprintf("quiz-%d", i+2), "10.0.0.1"))
	}
	stream.want("ADDED", "quiz-4")
}

func TestAListOfAVersionYetToComeWaitsForItAndThenFails(t *testing.T) {
	t.Parallel()
	server := start(t)
	began := time.Now()
	code, o := get(t, server, slicesPath+"?resourceVersion=9&resourceVersionMatch=NotOlderThan")
	if code != http.StatusGatewayTimeout || o.Reason != "Timeout" || !strings.Contains(string(o.raw), `"reason":"ResourceVersionTooLarge"`) {
		t.Errorf("got %d %s", code, o.raw)
	}
	if took := time.Since(began); took < 3*time.Second {
		t.Errorf("it failed after %v, want 3 s", took)
	}
	time.AfterFunc(10*time.Millisecond, func() { server.SetEndpointSlice(slice("quiz-1", "10.0.0.1")) })
	if code, o := get(t, server, slicesPath+"?resourceVersion=2"); code != http.StatusOK || o.names() != "quiz-1 " {
		t.Errorf("got %d %s", code, o.raw)
	}
}

func TestAStreamingListOfAVersionYetToComeIsAnErrorEvent(t *testing.T) {
	t.Parallel()
	stream := openWatch(t, start(t), slicesPath+streaming+"&resourceVersion=99")
	if o := stream.want("ERROR", ""); o.Code != http.StatusGatewayTimeout || !strings.Contains(string(o.raw), "ResourceVersionTooLarge") {
		t.Errorf("got %s", o.raw)
	}
	stream.wantEnd(io.EOF)
}

func TestAServerCanBeSetBackToABackup(t *testing.T) {
	server := start(t)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	backup := server.Backup()
	server.SetEndpointSlice(slice("quiz-2", "10.0.0.2"))
	server.DeleteEndpointSlice("kiada", "quiz-1")
	running := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=4")
	server.RestoreBackup(backup)
	running.wantEnd(io.ErrUnexpectedEOF)
	if code, list := get(t, server, slicesPath); code != http.StatusOK || list.names() != "quiz-1 " || list.Metadata.ResourceVersion != "2" {
		t.Errorf("got %d %s", code, list.raw)
	}
	resumed := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=4")
	for i := range 3 { // versions 3, 4 and 5
		server.SetEndpointSlice(slice(fmt.Sprintf("new-%d", i+3), "10.0.0.3"))
	}
	if o := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=1").want("ERROR", ""); o.Code != http.StatusGone {
		t.Errorf("from before the backup: %s", o.raw)
	}
	resumed.want("ADDED", "new-5")
	server.RestoreBackup(backup) // as often as it takes
	if _, list := get(t, server, slicesPath); list.names() != "quiz-1 " {
		t.Errorf("the second time: %s", list.raw)
	}
}

const streaming = "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"

func TestStreamingListEndsWithAnAnnotatedBookmark(t *testing.T) {
	server := start(t)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	server.SetEndpointSlice(slice("quiz-2", "10.0.0.2"))
	stream := openWatch(t, server, slicesPath+streaming)
	stream.want("ADDED", "quiz-1")
	stream.want("ADDED", "quiz-2")
	end := stream.want("BOOKMARK", "")
	if end.Metadata.ResourceVersion != "3" || end.Metadata.Annotations["k8s.io/initial-events-end"] != "true" {
		t.Errorf("end %s", end.raw)
	}
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.3"))
	stream.want("MODIFIED", "quiz-1")
}

func TestStreamingListCanBeOff(t *testing.T) {
	server := start(t)
	server.SetStreamingLists(false)
	code, o := get(t, server, slicesPath+streaming)
	if code != http.StatusUnprocessableEntity || o.Reason != "Invalid" {
		t.Errorf("got %d %s", code, o.raw)
	}
	server.SetStreamingLists(true)
	openWatch(t, server, slicesPath+streaming).want("BOOKMARK", "")
}

func TestStreamingListOptionsMustAgree(t *testing.T) {
	server := start(t)
	for query, want := range map[string]int{
		"?watch=1&sendInitialEvents=true":            422,
		"?watch=1&resourceVersionMatch=NotOlderThan": 422,
	} {
		if code, o := get(t, server, slicesPath+query); code != want {
			t.Errorf("%s: got %d %s, want %d", query, code, o.raw, want)
		}
	}
}

func TestWatchFromAForgottenVersionIsGone(t *testing.T) {
	server := start(t)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	running := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=1")
	server.CompactWithStatus()
	code, o := get(t, server, slicesPath+"?watch=1&resourceVersion=1")
	if code != http.StatusGone || o.Reason != "Expired" || o.Code != 410 {
		t.Errorf("got %d %s", code, o.raw)
	}
	running.want("ADDED", "quiz-1")

	server.Compact()
	stream := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=1")
	if o := stream.want("ERROR", ""); o.Kind != "Status" || o.Code != 410 || o.Reason != "Expired" {
		t.Errorf("got %s", o.raw)
	}
	stream.wantEnd(io.EOF)

	resumed := openWatch(t, server, slicesPath+"?watch=1&resourceVersion=2")
	server.SetEndpointSlice(slice("quiz-2", "10.0.0.1"))
	resumed.want("ADDED", "quiz-2")
}

func TestHistoryIsBounded(t *testing.T) {
	server := start(t)
	for range 1001 {
		server.SetService(kubetest.Service{ObjectMeta: kubetest.ObjectMeta{Namespace: "kiada", Name: "quiz"}})
	}
	if o := openWatch(t, server, servicesPath+"?watch=1&resourceVersion=1").want("ERROR", ""); o.Code != http.StatusGone {
		t.Errorf("got %s, want 410", o.raw)
	}
	openWatch(t, server, servicesPath+"?watch=1&resourceVersion=2").want("MODIFIED", "quiz")
}

func TestAWatcherThatDoesNotReadHoldsUpNobodyAndMissesNothing(t *testing.T) {
	server := start(t)
	slow := bufio.NewReader(openWatch(t, server, slicesPath+live).body)
	quick := bufio.NewReader(openWatch(t, server, slicesPath+live).body)
	server.SendRaw(strings.Repeat(" ", 6_000_000) + "\n") // more than the connection holds
	const changes = 200
	for range changes {
		server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	}
	for _, stream := range []*bufio.Reader{quick, slow} {
		if _, err := stream.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		for i := range changes {
			line, err := stream.ReadString('\n')
			if want := fmt.Sprintf(`"resourceVersion":"%d"`, i+2); err != nil || !strings.Contains(line, want) {
				t.Fatalf("got %.200s, %v, want %s", line, err, want)
			}
		}
	}
}

func TestManyWatchersAndWritersAgree(t *testing.T) {
	server := start(t)
	const writers, each, watchers = 4, 25, 6
	streams := make([]*watch, watchers)
	for i := range streams {
		streams[i] = openWatch(t, server, slicesPath+"?watch=1&resourceVersion=1")
	}
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() {
			for range each {
				server.SetEndpointSlice(slice(fmt.Sprintf("quiz-%d", i), "10.0.0.1"))
				server.Watches()
				server.Count(kubetest.Any, kubetest.Any)
			}
		})
	}
	orders := make([]string, watchers)
	for i, stream := range streams {
		running.Go(func() {
			for range writers * each {
				var e event
				if err := stream.decoder.Decode(&e); err != nil {
					t.Error(err)
					return
				}
				_, rest, _ := strings.Cut(string(e.Object), `"resourceVersion":"`)
				version, _, _ := strings.Cut(rest, `"`)
				orders[i] += version + " "
			}
		})
	}
	running.Wait()
	for _, order := range orders {
		if order != orders[0] || !strings.HasSuffix(order, fmt.Sprintf(" %d ", writers*each+1)) {
			t.Fatalf("watchers saw different orders: %q and %q", order, orders[0])
		}
	}
}
