package kube

import (
	"os"
	"sync"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// A clientCache holds the client of a Source, which is made at the first use. In a
// pod it is made anew if the environment names another API server, as it does from
// one test to the next.
type clientCache struct {
	mu     sync.Mutex
	made   bool // guarded by mu, as are all below
	server string
	client *kubeapi.Client
	err    error
}

func (c *clientCache) get(newClient func() (*kubeapi.Client, error)) (*kubeapi.Client, error) {
	server := os.Getenv("KUBERNETES_SERVICE_HOST") + " " + os.Getenv("KUBERNETES_SERVICE_PORT")
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.made || c.server != server {
		c.client, c.err = newClient()
		c.made, c.server = true, server
	}
	return c.client, c.err
}
