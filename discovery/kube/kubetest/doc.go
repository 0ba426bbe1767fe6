// Package kubetest is a Kubernetes API server for tests: it keeps Services,
// EndpointSlices and Nodes in memory and serves them over real HTTP on a
// loopback address, so that code which finds its backends through Kubernetes can
// be tested without a cluster, through every change and fault a cluster has.
//
//	server := kubetest.Start()
//	defer server.Close()
//
//	server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80}))
//	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-abc12", kubetest.Ports{"grpc": 8080},
//		kubetest.Ready("10.244.0.5", "quiz-0").OnNode("node-a").InZone("zone-1"),
//		kubetest.Terminating("10.244.0.6", "quiz-1"),
//	))
//	// Point the code under test at server.URL() and server.Client().
//
// It answers GET, LIST and WATCH of endpointslices (discovery.k8s.io/v1) and
// services (v1), in one namespace or in all, and of nodes (v1), as a real API
// server answers them: label and field selectors, resource versions, bookmarks, streaming
// lists, time-outs, 410 Gone, Status objects. The protocol is that of
// https://kubernetes.io/docs/reference/using-api/api-concepts/, and where that
// leaves something open, what kube-apiserver 1.37.2 does.
//
// A test changes the objects while clients watch ([Server.SetEndpointSlice]),
// switches faults on and off ([Server.Outage], [Server.Stall],
// [Server.DropWatches], [Server.Compact], [Server.RestoreBackup],
// [Server.Forbid], [Server.SendRaw] and
// others), and sees what its clients did ([Server.Requests],
// [Server.WaitWatches]). All methods may be called at any time by any
// goroutine.
//
// It is not a cluster: clients cannot write, no controller fills slices in
// from pods, and an object is sent just as the test gave it, with no defaults
// and no validation, so that a test can send what no sane server would.
package kubetest
