// Package kube is the discovery source of Kubernetes Services. It watches the
// EndpointSlices of a Service, and the Service itself, at the API server, and
// so sees a change of pods within milliseconds:
//
//	target, err := discovery.ParseTarget("k8s:///quiz.kiada:grpc")
//	...
//	sub := discovery.Watch(kube.InCluster(), target)
//	defer sub.Close()
//
// In a pod nothing needs to be set, but the pod's ServiceAccount needs the
// rights that [Role] returns. Elsewhere, [New] takes a host and an *http.Client
// that authenticates, as client-go makes one from a kubeconfig file:
//
//	config, err := clientcmd.BuildConfigFromFlags("", path)
//	...
//	client, err := rest.HTTPClientFor(config)
//	...
//	source := kube.New(kube.Config{Host: config.Host, Client: client, Namespace: "kiada"})
//
// # Whose names it serves
//
// A name without a namespace is in the client's own, by Config, by its service
// account or by the search path of its resolv.conf; where none of these tells it,
// that is an error. A name in another domain than the cluster's, such as
// quiz.kiada.svc.clusterset.local, is never a Service of this one: the
// [ForeignNameError] in the Snapshot's Reason says so, and discovery.Fallback
// follows it by DNS.
//
// # What it reads
//
// All slices of a Service count, joined as kube-proxy joins them: by the name
// of the port, with absent conditions taken for ready, serving and not
// terminating, and one endpoint for each address and port.
//
// A pod of a Service with two address families is one endpoint: its Addr is in
// the Service's first family and its AltAddr, found by the UID of the pod, in the
// second. kube-proxy serves each family for itself, so a pod that is not in the
// slices of the first does not count. But while the second family has endpoints
// that are ready (or terminate and still serve) and the first has none, the two
// change places. Config.Family asks for one family alone.
//
// A target's port is the name of a port of the Service, or its number; where the
// Service has no such number, it is that of the pods themselves: of a headless
// Service any number, as DNS has it, and else one that its slices have. Without the
// right to read Services, names still work, and so does any number if there is
// only one port, and in a pod the numbers of its own namespace's Services that
// its environment knows (QUIZ_SERVICE_PORT_GRPC=80).
//
// The appProtocol of a port is the slice's, or else the Service's (GEP-1911). A
// slice counts by its label kubernetes.io/service-name, whoever owns it, but for
// those of an earlier Service of the same name. Of sessionAffinity see [ErrAffinity].
// The internalTrafficPolicy counts for the Service's own ports, unless it is
// headless: kube-proxy has nothing to do with the others.
//
// While a port is being renamed there is a moment in which Service and slices
// disagree. kube-proxy rejects connections then; this package goes beyond it and
// keeps the port's last endpoints for 5 seconds before it reports
// [discovery.ErrPortNotFound]. Snapshot.Degraded says so.
//
// A Service of type ExternalName has no endpoints; the [ExternalNameError] in
// the Snapshot's Reason says what it is an alias of.
//
// # From outside the cluster
//
// Where pods cannot be reached, a target says which way to go in:
//
//	k8s:///quiz.kiada:grpc?via=nodeport
//	k8s:///quiz.kiada:grpc?via=loadbalancer
//
// The endpoints are then the cluster's nodes with the Service's node port, or
// the load balancer's addresses in the status of the Service, with the Service's
// own port. A load balancer that is known by its host name alone is like a Service
// of type ExternalName: the name is for discovery.Fallback to look up.
//
// Nodes are dialled at their ExternalIPs if any of them has one, else at their
// InternalIPs. They are ready while their kubelets are, and left out as the
// service controller leaves them out of cloud load balancers: those labelled
// node.kubernetes.io/exclude-from-external-load-balancers, which kubeadm makes of
// control planes, take nothing. If the Service's externalTrafficPolicy is Local,
// only nodes with a pod that can serve count. To read Nodes takes the rights that
// [ClusterRole] returns.
//
// Where the server has no EndpointSlices, or refuses them but not the legacy
// Endpoints, those are read in their place; see [API].
//
// # What it costs
//
// A Service costs the API server two watches, one of its slices and one of itself,
// however many targets and users it has. From the 21st Service of a namespace on,
// all of them share two watches of the whole namespace, which stay until the last
// Service is left. Those that come later share them, too, as soon as there
// are 21. Where the whole namespace is forbidden or has more than 2,000
// slices, each Service keeps its own.
//
// # What it does when reading fails
//
// Whatever was read last stays, however long the API server is away. The first
// read after that replaces it all. Errors tell why there is no news: [discovery.ErrForbidden],
// with the Role to add, or what the API server or the network said.
//
// The package does not choose among endpoints: it delivers those that are not
// ready, too. See discovery/topology.
package kube
