// Package kubeapi is a small list-and-watch client for the Kubernetes API. It
// keeps a handler informed of the objects of one resource type:
//
//	lw := kubeapi.ListWatch[*kubeapi.EndpointSlice]{
//		Client:        client,
//		Path:          kubeapi.EndpointSlicesPath("kiada"),
//		LabelSelector: kubeapi.LabelServiceName + "=quiz",
//	}
//	lw.Run(ctx, handler) // until ctx ends
//
// A start costs the API server one request, a streaming list that goes on as the
// watch, or a list and a watch where the server has no streaming lists. So does
// each time a watch ends, every 5 to 10 minutes.
//
// It speaks JSON, knows the few fields that sidestep reads, and writes nothing.
// Kubeconfig files and exec plugins are not its business: whoever needs them
// makes an *http.Client with client-go and hands it in.
//
// The protocol is described in
// https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes.
package kubeapi
