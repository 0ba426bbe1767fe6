// Command http sends a request to an HTTP Service of the cluster: it goes straight to one of its ready pods.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

func main() {
	transport, err := httpbalancer.NewTransport(httpbalancer.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer transport.Close()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}

	resp, err := client.Get("http://quiz.kiada/questions")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)
}
