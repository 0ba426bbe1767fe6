package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// httpContest is for users of net/http. There are more ways than for gRPC, so
// that each has fewer requests.
var httpContest = newContest("net/http", contest{
	rate: 100, rolloutRate: 200,
	calm: 10 * time.Second,
	ways: []way{
		{title: "sidestep", protocol: "http", via: "k8s", service: "quiz", target: "http://quiz.kiada/questions", policy: "adaptive"},
		{title: "ClusterIP", protocol: "http", via: "clusterip", service: "quiz", target: "http://quiz.kiada/questions"},
		{title: "headless name", protocol: "http", via: "clusterip", service: "quiz-pods", target: "http://quiz-pods.kiada:8080/questions"},
		{title: "HAProxy beside the client", protocol: "http", via: "clusterip", service: "quiz-pods", target: "http://127.0.0.1:8000/questions", sidecar: true},
		{title: "h2c: sidestep", protocol: "h2c", via: "k8s", service: "quiz-h2c", target: "http://quiz-h2c.kiada/questions", policy: "adaptive"},
		{title: "h2c: ClusterIP", protocol: "h2c", via: "clusterip", service: "quiz-h2c", target: "http://quiz-h2c.kiada/questions"},
		{title: "TLS: sidestep", protocol: "https", via: "k8s", service: "quiz-tls", target: "https://quiz-tls.kiada/questions", policy: "adaptive"},
		{title: "TLS: ClusterIP", protocol: "https", via: "clusterip", service: "quiz-tls", target: "https://quiz-tls.kiada/questions"},
	},
})

// rolloutOfPosts is a rollout under requests that must not be sent twice, with
// bodies that cannot be.
func (c contest) rolloutOfPosts(t *testing.T) {
	cl := needCluster(t)
	cl.scale(t, 3)
	of := slices.Clone(c.peers())
	for i := range of {
		of[i].method = "POST"
	}
	p := c.passage(t, cl, of, c.rolloutRate, 0, 0, func() {
		cl.must(t, "", "rollout", "restart", "deployment/quiz")
		cl.scale(t, 3)
	})
	explain(t, of, p.results)
	c.report.add(t, "rollout, POST without GetBody: failed though nothing was sent", "0", of, each(of, p.results, func(_ way, r *result.Result) measure {
		sent := r.Kinds[result.Sent].Count
		return none(r.Failed-sent, fmt.Sprintf(" of %d (%d on their way)", r.Requests, sent))
	}))
}
