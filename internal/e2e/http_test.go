package e2e_test

import (
	"slices"
	"testing"
)

// httpContest is for users of net/http. Its ways are HTTP/1.1.
var httpContest = newContest("net/http, HTTP/1.1",
	way{title: "sidestep", protocol: "http", via: "k8s", service: "quiz", target: "http://quiz.kiada/questions", policy: "adaptive"},
	way{title: "ClusterIP", protocol: "http", via: "clusterip", service: "quiz", target: "http://quiz.kiada/questions"},
	way{title: "headless name", protocol: "http", via: "clusterip", service: "quiz-pods", target: "http://quiz-pods.kiada:8080/questions"},
	way{title: "HAProxy beside the client", protocol: "http", via: "clusterip", service: "quiz-pods", target: "http://127.0.0.1:8000/questions", sidecar: true},
)

func TestHTTP(t *testing.T) {
	c := httpContest
	if !needCluster(t).proxy {
		c.ways = slices.DeleteFunc(slices.Clone(c.ways), func(w way) bool { return w.sidecar })
	}
	c.run(t)
}
