package kubetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

func Example() {
	server := kubetest.Start()
	defer server.Close()

	server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80}))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-abc12", kubetest.Ports{"grpc": 8080},
		kubetest.Ready("10.244.0.5", "quiz-0").OnNode("node-a").InZone("zone-1"),
		kubetest.Terminating("10.244.0.6", "quiz-1"),
	))

	// The code under test would do this.
	response, err := server.Client().Get(server.URL() + "/apis/discovery.k8s.io/v1/namespaces/kiada/endpointslices")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	var list struct {
		Items []kubetest.EndpointSlice
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		fmt.Println(err)
		return
	}
	for _, slice := range list.Items {
		for _, endpoint := range slice.Endpoints {
			fmt.Println(endpoint.TargetRef.Name, endpoint.Addresses[0], *slice.Ports[0].Port, *endpoint.Conditions.Ready)
		}
	}
	// Output:
	// quiz-0 10.244.0.5 8080 true
	// quiz-1 10.244.0.6 8080 false
}

// A test changes objects while its client watches, and waits for what the
// client does rather than for time to pass.
func ExampleServer_WaitWatches() {
	server := kubetest.Start()
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	events := make(chan string)
	go func() { // the code under test
		defer close(events)
		response, err := server.Client().Get(server.URL() + "/api/v1/services?watch=1")
		if err != nil {
			events <- err.Error()
			return
		}
		defer response.Body.Close()
		decoder := json.NewDecoder(response.Body)
		for {
			var event struct {
				Type   string
				Object kubetest.Service
			}
			if decoder.Decode(&event) != nil {
				return
			}
			events <- event.Type + " " + event.Object.Name
		}
	}()

	if err := server.WaitWatches(ctx, 1); err != nil {
		fmt.Println(err)
		return
	}
	server.SetService(kubetest.HeadlessService("kiada", "quiz", kubetest.Ports{"grpc": 8080}))
	server.DeleteService("kiada", "quiz")
	server.EndWatches()
	for event := range events {
		fmt.Println(event)
	}
	// Output:
	// ADDED quiz
	// DELETED quiz
}

func ExampleServer_Outage() {
	server := kubetest.Start()
	defer server.Close()

	server.Outage()
	_, err := server.Client().Get(server.URL() + "/api/v1/services")
	fmt.Println("during the outage:", err != nil)

	if err := server.Restore(); err != nil {
		fmt.Println(err)
		return
	}
	response, err := server.Client().Get(server.URL() + "/api/v1/services")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println("after it:", response.Status)
	// Output:
	// during the outage: true
	// after it: 200 OK
}

func ExampleServer_Forbid() {
	server := kubetest.Start()
	defer server.Close()

	server.Forbid(kubetest.List, kubetest.EndpointSlices)
	response, err := server.Client().Get(server.URL() + "/apis/discovery.k8s.io/v1/namespaces/kiada/endpointslices")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println(response.StatusCode == http.StatusForbidden)
	// Output: true
}
