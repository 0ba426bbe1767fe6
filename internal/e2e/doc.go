// Package e2e holds the end-to-end tests. They run on any cluster: they deploy
// examples/kind to it, send traffic to the pods by six ways at the same time,
// from clients that are pods themselves, and put the cluster through what a
// cluster goes through: a scale-up, a rolling restart, a pod that dies, an API
// server that is down. What they measure is printed as a table at the end.
//
// The environment names the cluster. Without it, the tests are skipped.
//
//	SIDESTEP_E2E_LOAD_IMAGE       a command that is called with NAME:TAG BINARY and loads an
//	                              image whose entry point is that binary; needed
//	SIDESTEP_E2E_KUBECONFIG       the cluster; the default is KUBECONFIG, then kubectl's own
//	SIDESTEP_E2E_DNS_TTL          the TTL of the cluster's DNS: 5s by default, kind has 30s
//	SIDESTEP_E2E_APISERVER_STOP   commands that stop the API server and start it again;
//	SIDESTEP_E2E_APISERVER_START  without them, the scene of its outage is skipped
//
// They need go and kubectl, and replace the namespace kiada. examples/kind
// tells how to run them in kind.
package e2e
