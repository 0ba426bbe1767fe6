package e2e_test

import (
	"slices"
	"testing"
)

// These tests take longest, and are the last of the package.

func TestGRPCBesideItsPeers(t *testing.T) {
	needCluster(t)
	grpcContest.run(t)
}

func TestHTTPBesideItsPeers(t *testing.T) {
	c := httpContest
	if !needCluster(t).proxy {
		c.ways = slices.DeleteFunc(slices.Clone(c.ways), func(w way) bool { return w.sidecar })
	}
	c.run(t)
	c.play(t, "pods are replaced, POST", c.rolloutOfPosts)
}
