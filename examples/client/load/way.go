package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sidestep-lb/sidestep/examples/quiz"
)

// A Way is one of those by which requests can reach the pods.
type Way struct {
	// Ask sends one request and returns the name of the pod that answered.
	Ask func(ctx context.Context) (pod string, err error)
	// Subscribe opens a stream on which the pod is silent, calls opened once the
	// pod has accepted it, and returns when it has ended. It may be nil.
	Subscribe func(ctx context.Context, opened func()) error
	// Close ends what it uses.
	Close func()

	connections connections
}

// GRPC returns the way of a channel to target, without transport security. All
// that is special about the way is in the options.
func GRPC(target string, options ...grpc.DialOption) (*Way, error) {
	w := new(Way)
	conn, err := grpc.NewClient(target, append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStatsHandler(&w.connections))...)
	if err != nil {
		return nil, err
	}
	w.Ask = func(ctx context.Context) (string, error) {
		answer, err := quiz.Ask(ctx, conn)
		return answer.Pod, err
	}
	w.Subscribe = func(ctx context.Context, opened func()) error { return watchHealth(ctx, conn, opened) }
	w.Close = func() { conn.Close() }
	return w, nil
}

// HTTP returns the way of a RoundTripper. If the method is POST the requests
// have a body that cannot be had a second time, as one that is streamed.
func HTTP(transport http.RoundTripper, method, url string) *Way {
	client := &http.Client{Transport: transport}
	w := &Way{Close: client.CloseIdleConnections}
	trace := w.connections.trace()
	w.Ask = func(ctx context.Context) (string, error) {
		var content *body
		var reader io.Reader = http.NoBody
		if method == http.MethodPost {
			content = new(body)
			reader = io.LimitReader(content, 512)
		}
		request, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), method, url, reader)
		if err != nil {
			return "", err
		}
		response, err := client.Do(request)
		if err != nil {
			if content != nil && content.read.Load() {
				err = &sentError{err}
			}
			return "", err
		}
		defer response.Body.Close()
		return podOf(response)
	}
	w.Subscribe = func(ctx context.Context, opened func()) error {
		return subscribe(ctx, client, strings.TrimSuffix(url, "/questions")+"/subscription", opened)
	}
	return w
}

// A body reads as "????", without end. It is none of the readers from which
// net/http makes a GetBody.
type body struct {
	read atomic.Bool // whether any of it was
}

func (b *body) Read(p []byte) (int, error) {
	b.read.Store(true)
	for i := range p {
		p[i] = '?'
	}
	return len(p), nil
}

// podOf returns the pod that a response names.
func podOf(response *http.Response) (string, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return "", &statusError{response.StatusCode, string(body)}
	}
	var answer quiz.Answer
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("parse the answer: %w", err)
	}
	return answer.Pod, nil
}
