// Package e2e holds the end-to-end tests. They run on any cluster: they deploy
// examples/kind to it, send traffic to the pods by many ways at the same time,
// from clients that are pods themselves, and put the cluster through what a
// cluster goes through: a scale-up, a rollout, a pod that dies, freezes or
// falls silent, an API server that is down. What they measure is printed in
// four tables at the end. The first is about sidestep's sources of endpoints,
// the second about rollouts and scale-ups of pods that have a lot to do; the
// others have its peers beside it, for gRPC and for net/http.
//
// The environment names the cluster. Without it, the tests are skipped.
//
//	SIDESTEP_E2E_LOAD_IMAGE       a command that is called with NAME:TAG BINARY [FILE...] and
//	                              loads an image that holds these files in /, the first its
//	                              entry point; needed
//	SIDESTEP_E2E_KUBECONFIG       the cluster; the default is KUBECONFIG, then kubectl's own
//	SIDESTEP_E2E_DNS_TTL          the TTL of the cluster's DNS: 5s by default, kind has 30s
//	SIDESTEP_E2E_APISERVER_STOP   commands that stop the API server and start it again;
//	SIDESTEP_E2E_APISERVER_START  without them, the scenes of its outage are skipped
//	SIDESTEP_E2E_NODE             a command that is called with a shell script and runs it as
//	                              root on the node; without it, the scenes that need the node
//	                              are skipped: pods that freeze, fall silent or are killed, an
//	                              IP that is reused, a token that ends
//
// They need go and kubectl, and replace the namespace kiada. The cluster has one
// node. HAProxy is one of the peers if it is installed where the tests run, on
// Linux. examples/kind tells how to run them in kind.
//
// Latencies are compared with those of the same client in the same run, just
// before something breaks, and by the side of a client that the fault does not
// concern. Still, they want a machine that does nothing else: where it does, the
// scenes that judge latencies are played again. All of it takes about half an
// hour. The scenes beside peers come last, and are skipped when -timeout is near.
package e2e
