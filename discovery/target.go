package discovery

import (
	"strconv"
	"strings"
)

// The schemes of targets.
const (
	SchemeKubernetes = "k8s"      // the Kubernetes API
	SchemeHeadless   = "headless" // DNS of a headless Service
	SchemeStatic     = "static"   // a fixed list of addresses
)

// aliasKubernetes is the scheme of kuberesolver, whose users can keep it.
const aliasKubernetes = "kubernetes"

// A Target is a parsed name. Targets are comparable.
//
//	k8s:///SERVICE[.NAMESPACE[.svc[.DOMAIN]]][:PORT][?via=VIA]
//	headless:///SERVICE[.NAMESPACE[.svc[.DOMAIN]]][:PORT] or headless:///HOST[:PORT]
//	static:///ADDRESS:PORT[,ADDRESS:PORT...]
//
// A name with a last dot is absolute, as in DNS (RFC 1034, section 3.1): it means
// itself whatever the search path of resolv.conf. So api.dev. is a host and never
// the Service api in the namespace dev, and of the names with a last dot only
// SERVICE.NAMESPACE.svc.DOMAIN. is a Service.
type Target struct {
	// Scheme is one of the Scheme constants.
	Scheme string
	// Service, Namespace and Domain name a Service. An empty Namespace is the
	// pod's own, an empty Domain that of the cluster.
	Service, Namespace, Domain string
	// Name is what a target names that is no Service: the host of a headless
	// target that does not read as one, or the list of a static target. A host with
	// a last dot is absolute; others go through the search path of resolv.conf.
	// Beside a Service, it is the relative name that a source has completed.
	Name string
	// Port is the port of the Service; its zero value is the only one.
	Port Port
	// Via is how to reach a Service from outside its cluster: one of the Via
	// constants, with SchemeKubernetes only. Empty means straight to the pods.
	// See package kube for what each means.
	Via string
}

// The ways to a Service from outside its cluster.
const (
	ViaNodePort     = "nodeport"     // the Service's port on the cluster's nodes
	ViaLoadBalancer = "loadbalancer" // the Service's load balancer
)

// A Port is given by name or by number, or left out.
type Port struct {
	Name   string
	Number uint16
}

// IsZero reports whether the port was left out.
func (p Port) IsZero() bool { return p == Port{} }

// String returns the name, the number, or nothing.
func (p Port) String() string {
	if p.Number != 0 {
		return strconv.Itoa(int(p.Number))
	}
	return p.Name
}

// String returns the target in the form that ParseTarget reads.
func (t Target) String() string {
	var b strings.Builder
	b.WriteString(t.Scheme)
	b.WriteString(":///")
	b.WriteString(t.Host())
	if !t.Port.IsZero() {
		b.WriteByte(':')
		b.WriteString(t.Port.String())
	}
	if t.Via != "" {
		b.WriteString(viaParameter)
		b.WriteString(t.Via)
	}
	return b.String()
}

// Host returns the target without its scheme, port and Via, as a user would write
// it in a URL.
func (t Target) Host() string {
	switch {
	case t.Service == "":
		return t.Name
	case t.Namespace == "":
		return t.Service
	case t.Domain == "":
		return t.Service + "." + t.Namespace
	default:
		return t.Service + "." + t.Namespace + ".svc." + t.Domain
	}
}
