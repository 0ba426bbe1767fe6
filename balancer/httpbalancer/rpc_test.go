package httpbalancer_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/health"
)

// frame is one of gRPC's and Connect's.
func frame(flags byte, payload string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(payload)))) + payload
}

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// An rpcWay is a way to say UNAVAILABLE, or with ok that all is well, with HTTP
// status 200.
type rpcWay func(w http.ResponseWriter, ok bool)

func grpcStatus(ok bool) string {
	if ok {
		return "0"
	}
	return "14"
}

func webTrailers(ok bool) string {
	return "grpc-status: " + grpcStatus(ok) + "\r\ngrpc-message: hi\r\n"
}

func connectEnd(ok bool) string {
	if ok {
		return `{"metadata":{"a":["b"]}}`
	}
	return `{"error":{"code":"unavailable","message":"{}\"}"}}`
}

var rpcWays = map[string]rpcWay{
	"gRPC": func(w http.ResponseWriter, ok bool) {
		w.Header().Set("Content-Type", "application/grpc+proto")
		w.Header().Set("Trailer", "Grpc-Status") // which HTTP/1 wants to be announced
		io.WriteString(w, frame(0, "message"))
		w.Header().Set("Grpc-Status", grpcStatus(ok))
	},
	"gRPC, trailers only": func(w http.ResponseWriter, ok bool) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", grpcStatus(ok))
	},
	"gRPC-Web": func(w http.ResponseWriter, ok bool) {
		w.Header().Set("Content-Type", "application/grpc-web+proto")
		io.WriteString(w, frame(0, strings.Repeat("message", 10_000))+frame(0x80, webTrailers(ok)))
	},
	"gRPC-Web, compressed": func(w http.ResponseWriter, ok bool) {
		w.Header().Set("Content-Type", "application/grpc-web")
		w.Header().Set("Grpc-Encoding", "gzip")
		io.WriteString(w, frame(1, gzipped("message"))+frame(0x81, gzipped(webTrailers(ok))))
	},
	"gRPC-Web, text": func(w http.ResponseWriter, ok bool) {
		w.Header().Set("Content-Type", "application/grpc-web-text; charset=utf-8")
		io.WriteString(w, base64.StdEncoding.EncodeToString([]byte(frame(0, "message")))+base64.StdEncoding.EncodeToString([]byte(frame(0x80, webTrailers(ok)))))
	},
	"gRPC-Web, trailers only": func(w http.ResponseWriter, ok bool) {
		w.Header().Set("Content-Type", "application/grpc-web+proto")
		w.Header().Set("Grpc-Status", grpcStatus(ok))
	},
	"Connect's stream": func(w http.ResponseWriter, ok bool) {
		w.Header().Set("Content-Type", "application/connect+json")
		io.WriteString(w, frame(0, `{"error":{"code":"unavailable"}}`)+frame(0, "")+frame(2, connectEnd(ok)))
	},
	"Connect's stream, compressed": func(w http.ResponseWriter, ok bool) {
		w.Header().Set("Content-Type", "application/connect+proto")
		w.Header().Set("Connect-Content-Encoding", "gzip")
		io.WriteString(w, frame(1, gzipped("message"))+frame(3, gzipped(connectEnd(ok))))
	},
	"Connect, unary": func(w http.ResponseWriter, ok bool) {
		w.Header().Set("Content-Type", "application/json")
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, `{"code":"unavailable"}`)
	},
}

func TestTheStatusOfAnRPCIsItsOutcomeWhereverItStands(t *testing.T) {
	for way, say := range rpcWays {
		for protocol, protocols := range over {
			for _, policy := range []string{balancer.RoundRobin, balancer.Adaptive} {
				t.Run(way+", "+protocol+", "+policy, func(t *testing.T) {
					var failed atomic.Int64
					pods := []*server{
						startWith(t, "quiz-0", func(w http.ResponseWriter, _ *http.Request) { say(w, true) }, protocols()),
						startWith(t, "quiz-1", func(w http.ResponseWriter, _ *http.Request) { failed.Add(1); say(w, false) }, protocols()),
						startWith(t, "quiz-2", func(w http.ResponseWriter, _ *http.Request) { say(w, true) }, protocols()),
					}
					transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Protocols: protocols(), Balancer: balancer.Config{Policy: policy}})
					for range 60 {
						get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
					}
					if n := failed.Load(); n > 8 {
						t.Errorf("%d of 60 calls went to the pod that fails all of them", n)
					}
					sum := outcomes()
					if sum.Sum() != 60 || sum[health.Failure] != uint64(failed.Load()) || sum[health.Success] != 60-uint64(failed.Load()) {
						t.Errorf("outcomes %v of 60 calls, of which %d failed", sum, failed.Load())
					}
					if n := transport.InFlight(); n != 0 {
						t.Errorf("%d in flight", n)
					}
				})
			}
		}
	}
}

// NOT_FOUND ends a row of failures, and UNKNOWN is no outage.
func TestWhatTheCodesMean(t *testing.T) {
	for code, want := range []health.Outcome{
		health.Success, health.Neutral, health.Neutral, health.Success, health.Timeout, health.Success, health.Success, health.Success, health.Neutral,
		health.Success, health.Success, health.Success, health.Neutral, health.Failure, health.Failure, health.Failure, health.Success, health.Neutral,
	} {
		if got := httpbalancer.RPCOutcome(code); got != want {
			t.Errorf("code %d: %v, want %v", code, got, want)
		}
	}
	if got := httpbalancer.RPCOutcome(httpbalancer.NoRPCCode); got != health.Neutral {
		t.Errorf("no code: %v", got)
	}
	var n atomic.Int64
	pods := []*server{startWith(t, "quiz-0", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		io.WriteString(w, "message")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", []string{"14", "14", "14", "14", "5", "14", "14", "14", "2"}[n.Add(1)%9])
	}, h2c()), startWith(t, "quiz-1", nil, h2c())}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Protocols: h2c()})
	for range 18 {
		get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
	}
	if got := transport.Fit(); got != 2 {
		t.Errorf("%d pods are fit after 4 failures in a row", got)
	}
}

func TestTheUserMaySayWhatAnEndMeans(t *testing.T) {
	type asked struct {
		code     int
		checksum string
	}
	var all []asked
	pod := startWith(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/plain":
			io.WriteString(w, "hello")
		case "/trailers":
			w.Header().Set("Trailer", "Checksum")
			io.WriteString(w, "hello")
			w.Header().Set("Checksum", "42")
		default:
			rpcWays[r.URL.Path[1:]](w, false)
		}
	}, h2c())
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(pod), Protocols: h2c(),
		OutcomeAtEnd: func(resp *http.Response, code int) health.Outcome {
			all = append(all, asked{code, resp.Trailer.Get("Checksum")})
			return health.Failure
		},
	})
	for _, path := range []string{"plain", "trailers", "gRPC", "gRPC, trailers only", "Connect's stream"} {
		get(t, &http.Client{Transport: transport}, "http://quiz.kiada/"+path)
	}
	want := []asked{{httpbalancer.NoRPCCode, "42"}, {14, ""}, {14, ""}, {14, ""}}
	if got := fmt.Sprint(all); got != fmt.Sprint(want) {
		t.Errorf("asked about %v, want %v", got, want)
	}
	if sum := outcomes(); sum[health.Failure] != 4 || sum[health.Success] != 1 {
		t.Errorf("outcomes %v", sum)
	}
}

// A stream that its caller leaves has worked, one that breaks off has not, and a
// body in which nobody finds a status is nobody's fault.
func TestAnRPCThatHasNoStatus(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, tt := range map[string]struct {
		serve http.HandlerFunc
		close bool
		want  health.Outcome
	}{
		"left": {func(w http.ResponseWriter, r *http.Request) { streams(release)(w, r) }, true, health.Neutral},
		"broken": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, frame(0, "message"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, false, health.Failure},
		"without":  {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, frame(0, "message")) }, false, health.Neutral},
		"nonsense": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "\x80\xff\xff\xff\xffgrpc-status: 14") }, false, health.Neutral},
	} {
		for protocol, protocols := range over {
			for _, content := range []string{"application/grpc", "application/grpc-web", "application/connect+proto"} {
				pod := startWith(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", content)
					tt.serve(w, r)
				}, protocols())
				transport := httpbalancer.New(httpbalancer.Config{Source: serving(pod), Protocols: protocols()})
				resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", http.NoBody))
				if err != nil {
					t.Fatal(err)
				}
				if tt.close {
					resp.Body.Read(make([]byte, 1))
				} else {
					io.Copy(io.Discard, resp.Body)
				}
				resp.Body.Close()
				if sum := outcomes(); sum.Sum() != 1 || sum[tt.want] != 1 {
					t.Errorf("%s, %s, %s: outcomes %v", name, protocol, content, sum)
				}
				transport.Close()
			}
		}
	}
}
