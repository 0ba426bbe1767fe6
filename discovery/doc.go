// Package discovery answers one question: which addresses serve a name?
//
// A [Target] is a parsed name such as k8s:///quiz.kiada:grpc. A [Source] turns
// it into a stream of [Snapshot] values, each of them complete and immutable.
// [Watch] shares one such stream per target among all users in the process,
// and [Resolve] asks once:
//
//	target, err := discovery.ParseTarget("k8s:///quiz.kiada:grpc")
//	...
//	snapshot, err := discovery.Resolve(ctx, source, target)
//
// The sources themselves are in the packages discovery/kube, discovery/dns and
// discovery/static.
//
// The package decides nothing about fitness or choice: which of the endpoints
// this client may use is the business of discovery/topology, and which of them
// serves the next request that of the balancer package.
package discovery
