package dns

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

const defaultDomain = "cluster.local"

// namespaceFile is where the kubelet writes the namespace of the pod.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Canonical returns target with its namespace and domain filled in, so that the
// ways to write the name of a Service share one watch. It reads the files that
// Config names, where Config itself does not say. The namespace stays empty where
// nothing tells it, and the domain is cluster.local then.
//
// A headless target of two labels that a search path may lead to a pod keeps them
// in its Name, and one that the hosts file has is that host.
func (s *Source) Canonical(target discovery.Target) discovery.Target {
	if target.Service == "" {
		return target
	}
	if host, found := s.inHosts(target); found {
		return host
	}
	return s.complete(target)
}

// complete fills in the namespace and the domain.
func (s *Source) complete(target discovery.Target) discovery.Target {
	if target.Service == "" || target.Namespace != "" && target.Domain != "" {
		return target
	}
	conf, _ := podfiles.ReadResolvConf(s.config.ResolvConf) // Watch reports the error if it needs the file
	if target.Namespace != "" && target.Scheme == discovery.SchemeHeadless && conf.Namespace() != "" {
		target.Name = target.Host()
	}
	if target.Namespace == "" {
		target.Namespace = cmp.Or(s.config.Namespace, podNamespace(s.namespaceFile), conf.Namespace())
	}
	if target.Domain == "" {
		target.Domain = cmp.Or(s.config.Domain, conf.Domain(), defaultDomain)
	}
	return target
}

// Domain returns the cluster's domain, in lower case and without a last dot: see
// Config.Domain.
func (s *Source) Domain() string {
	domain := s.complete(discovery.Target{Service: "any"}).Domain
	return strings.ToLower(strings.TrimSuffix(domain, "."))
}

// errNoNamespace says that a target names no namespace and nothing else does. That
// lasts, unless resolv.conf could not be read.
func (s *Source) errNoNamespace(target discovery.Target) error {
	if _, err := readResolvConf(s.config.ResolvConf); err != nil {
		return fmt.Errorf("%s: the target names no namespace: find the client's own: %w", target, err)
	}
	return fmt.Errorf("%s: %w: the target names no namespace, and neither dns.Config.Namespace nor a service account nor the search path of %s tells the client's own: "+
		"write %s:///%s.NAMESPACE", target, discovery.ErrUnavailable, s.config.ResolvConf, target.Scheme, target.Service)
}

// podNamespace returns nothing outside a pod.
func podNamespace(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	if name := strings.TrimSpace(string(text)); podfiles.IsLabel(name) {
		return name
	}
	return ""
}

// hostName returns the absolute name of target.
func hostName(target discovery.Target) string {
	if target.Service == "" {
		return strings.TrimSuffix(target.Name, ".") + "."
	}
	return target.Service + "." + target.Namespace + ".svc." + strings.TrimSuffix(target.Domain, ".") + "."
}
