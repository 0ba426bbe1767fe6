package kubetest

import (
	"encoding/json"
	"strconv"
)

// Verbs and resources, as RBAC names them and [Request] reports them.
const (
	Get   = "get"
	List  = "list"
	Watch = "watch"

	Services       = "services"
	EndpointSlices = "endpointslices"
	Nodes          = "nodes"

	Any = "*" // any verb, or any resource
)

// resource is a kind of object the server has.
type resource struct {
	name       string // plural, as in paths
	group      string
	apiVersion string
	kind       string
	root       string // the path its collections are under
	ofCluster  bool   // its objects are in no namespace
	blank      func() object
}

var (
	serviceResource = &resource{
		name:       Services,
		apiVersion: "v1",
		kind:       "Service",
		root:       "/api/v1/",
		blank:      func() object { return new(Service) },
	}
	nodeResource = &resource{
		name:       Nodes,
		apiVersion: "v1",
		kind:       "Node",
		root:       "/api/v1/",
		ofCluster:  true,
		blank:      func() object { return new(Node) },
	}
	sliceResource = &resource{
		name:       EndpointSlices,
		group:      "discovery.k8s.io",
		apiVersion: "discovery.k8s.io/v1",
		kind:       "EndpointSlice",
		root:       "/apis/discovery.k8s.io/v1/",
		blank:      func() object { return new(EndpointSlice) },
	}
)

// qualified is the resource's name in messages: plural.group.
func (r *resource) qualified() string {
	if r.group == "" {
		return r.name
	}
	return r.name + "." + r.group
}

// encode writes o as it is at a revision, with its kind and API version.
func (r *resource) encode(o object, revision int64) json.RawMessage {
	*o.typing() = typeMeta{Kind: r.kind, APIVersion: r.apiVersion}
	o.metadata().ResourceVersion = strconv.FormatInt(revision, 10)
	return mustMarshal(o)
}

// bookmark is the object of a BOOKMARK event: nothing but a revision and, at
// the end of the initial events of a streaming list, an annotation that says
// so (KEP-3157).
func (r *resource) bookmark(revision int64, endsInitialEvents bool) json.RawMessage {
	o := r.blank()
	if endsInitialEvents {
		o.metadata().Annotations = map[string]string{"k8s.io/initial-events-end": "true"}
	}
	return r.encode(o, revision)
}
