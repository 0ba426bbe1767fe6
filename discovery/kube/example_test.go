package kube_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// Outside a cluster, kubectl proxy adds the user's credentials to what comes to
// its address.
func ExampleNew() {
	source := kube.New(kube.Config{
		Host:      "http://127.0.0.1:8001",
		Client:    http.DefaultClient,
		Namespace: "kiada",
	})
	target, err := discovery.ParseTarget("k8s:///quiz:grpc")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(source.Canonical(target))
	// Output: k8s:///quiz.kiada:grpc
}

func ExampleSource() {
	server := kubetest.Start()
	defer server.Close()
	server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80}))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-abc12", kubetest.Ports{"grpc": 8080},
		kubetest.Ready("10.244.0.5", "quiz-0"),
		kubetest.NotReady("10.244.0.6", "quiz-1"),
	))

	source := kube.New(kube.Config{Host: server.URL(), Client: server.Client()})
	target, err := discovery.ParseTarget("k8s:///quiz.kiada:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	snapshot, err := discovery.Resolve(ctx, source, target)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range snapshot.Endpoints {
		fmt.Println(e.String(), e.Ready)
	}
	// Output:
	// 10.244.0.5:8080 (quiz-0) true
	// 10.244.0.6:8080 (quiz-1) false
}

func ExampleRole() {
	fmt.Print(kube.Role("kiada"))
	// Output:
	// apiVersion: rbac.authorization.k8s.io/v1
	// kind: Role
	// metadata: {name: sidestep, namespace: kiada}
	// rules:
	// - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
	// - {apiGroups: [""], resources: [services], verbs: [get, list, watch]}
}

func ExampleClusterRole() {
	fmt.Print(kube.ClusterRole())
	// Output:
	// apiVersion: rbac.authorization.k8s.io/v1
	// kind: ClusterRole
	// metadata: {name: sidestep-nodes}
	// rules:
	// - {apiGroups: [""], resources: [nodes], verbs: [list, watch]}
}
