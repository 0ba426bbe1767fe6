package kube_test

import (
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// The running watch may end long after the server was set back; what matters is the
// one that follows.
func TestAClusterRestoredFromABackupIsReadAnew(t *testing.T) {
	server := newServer(t)
	server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80}))
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	backup := server.Backup()
	for i := range 20 {
		setSlice(server, "quiz-a", kubetest.Ready("10.0.0.2", "quiz-1").WithUID(string(rune('a'+i))))
	}
	sub := watch(t, kube.Restless(newSource(server), 100*time.Millisecond), "k8s:///quiz:grpc")
	awaitEndpoints(t, sub, "10.0.0.2:8080")
	waitWatches(t, server, 2)

	server.RestoreBackup(backup)
	awaitEndpoints(t, sub, "10.0.0.1:8080")
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.3", "quiz-2"))
	awaitEndpoints(t, sub, "10.0.0.3:8080")
}
