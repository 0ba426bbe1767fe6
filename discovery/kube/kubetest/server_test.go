package kubetest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

func TestCloseEndsEverythingAndMayBeRepeated(t *testing.T) {
	server := kubetest.Start()
	stream := openWatch(t, server, slicesPath+live)
	server.Stall()
	waiting := make(chan error)
	go func() {
		response, err := server.Client().Get(server.URL() + slicesPath)
		if err == nil {
			response.Body.Close()
		}
		waiting <- err
	}()
	if err := server.WaitRequests(waitContext(t), kubetest.List, kubetest.EndpointSlices, 1); err != nil {
		t.Fatal(err)
	}
	server.Close()
	server.Close()
	stream.wantEnd(io.ErrUnexpectedEOF)
	if err := <-waiting; err == nil {
		t.Error("a request was answered by a closed server")
	}
	if err := server.Restore(); err == nil {
		t.Error("a closed server was restored")
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	server := start(t)
	if _, err := send(t, server, slicesPath+"?watch=1&labelSelector=a%3Db", http.Header{"User-Agent": {"sidestep/1"}}); err != nil {
		t.Fatal(err)
	}
	get(t, server, "/api/v1/services")
	get(t, server, servicesPath+"/quiz")
	get(t, server, "/nowhere")

	var got []string
	for _, r := range server.Requests() {
		got = append(got, strings.Join([]string{r.Method, r.Verb, r.Resource, r.Namespace, r.Name}, ","))
	}
	want := "GET,watch,endpointslices,kiada, GET,list,services,, GET,get,services,kiada,quiz GET,,,,"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
	first := server.Requests()[0]
	if first.Header.Get("User-Agent") != "sidestep/1" || first.Query.Get("labelSelector") != "a=b" || time.Since(first.Time) > patience {
		t.Errorf("got %+v", first)
	}
	if n := server.Count(kubetest.Any, kubetest.Services); n != 2 {
		t.Errorf("%d requests for services", n)
	}
	if n := server.Count(kubetest.Watch, kubetest.Any); n != 1 {
		t.Errorf("%d watches", n)
	}
}

func TestWaitingReturnsAsSoonAsItIsSo(t *testing.T) {
	server := start(t)
	watched := make(chan error)
	go func() { watched <- server.WaitWatches(waitContext(t), 1) }()
	stream := openWatch(t, server, slicesPath+live)
	if err := <-watched; err != nil {
		t.Error(err)
	}
	stream.body.Close()
	if err := server.WaitWatches(waitContext(t), 0); err != nil {
		t.Error(err)
	}
}

func TestWaitingInVainSaysWhatThereIs(t *testing.T) {
	server := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := server.WaitWatches(ctx, 2)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "2 watches, of which 0") {
		t.Error(err)
	}
	err = server.WaitRequests(ctx, kubetest.Get, kubetest.Services, 1)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 requests to get services, of which 0") {
		t.Error(err)
	}
}

func TestTLSServesWatchesOverHTTP2(t *testing.T) {
	server := kubetest.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(server.CA()) {
		t.Fatal("no certificate in CA")
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get(server.URL() + slicesPath)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.ProtoMajor != 2 {
		t.Error(response.Proto)
	}

	dropped := openWatch(t, server, slicesPath+live)
	server.SetEndpointSlice(slice("quiz-1", "10.0.0.1"))
	dropped.want("ADDED", "quiz-1")
	server.DropWatches()
	var e event
	if err := dropped.decoder.Decode(&e); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a stream error", err)
	}
	ended := openWatch(t, server, slicesPath+live)
	server.EndWatches()
	ended.want("ADDED", "quiz-1")
	ended.wantEnd(io.EOF)

	server.Outage()
	if err := server.Restore(); err != nil {
		t.Fatal(err)
	}
	// The client may take a moment to notice that its connection is gone.
	for deadline := waitContext(t); ; {
		response, err := send(t, server, slicesPath, nil)
		if err == nil {
			response.Body.Close()
			break
		}
		if deadline.Err() != nil {
			t.Fatal(err)
		}
	}
}
