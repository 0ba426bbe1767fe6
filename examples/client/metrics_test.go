package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/sidestep-lb/sidestep/examples/quiz"
)

type pod struct{}

func (pod) Question(context.Context) (quiz.Answer, error) { return quiz.Answer{Pod: "quiz-0"}, nil }

// startPod returns the address of a server.
func startPod(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	quiz.Register(server, pod{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-ended
	})
	return listener.Addr().String()
}

// Of these there is nothing as long as nothing fails, and without a cluster.
var absent = map[string]bool{
	"sidestep_discovery_errors_total": true, "sidestep_discovery_kube_requests_total": true, "sidestep_discovery_dns_answers_total": true,
}

// The dashboard of examples/kind/monitoring asks for metrics that there are.
func TestTheDashboardAsksForWhatThereIs(t *testing.T) {
	handler, err := prometheusHandler()
	if err != nil {
		t.Fatal(err)
	}
	way, err := options{target: startPod(t), protocol: "grpc", via: "static", policy: "adaptive"}.way()
	if err != nil {
		t.Fatal(err)
	}
	defer way.Close()
	for range 300 { // some of them are samples
		if _, err := way.Ask(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))

	text, err := os.ReadFile("../kind/monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			for _, name := range regexp.MustCompile(`sidestep_(balancer|discovery)_\w+`).FindAllString(target.Expr, -1) {
				asked++
				if !absent[name] && !strings.Contains(answer.Body.String(), "\n"+name+"{") {
					t.Errorf("%s is not exported", name)
				}
			}
		}
	}
	if asked < 12 {
		t.Errorf("the dashboard asks for %d metrics", asked)
	}
}
