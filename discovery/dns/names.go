package dns

import (
	"cmp"
	"os"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
)

const (
	defaultDomain    = "cluster.local"
	defaultNamespace = "default"
)

// namespaceFile is where the kubelet writes the namespace of the pod.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Canonical returns target with its namespace and domain filled in, so that all
// ways to write the name of a Service share one watch. It reads the files that
// Config names, where Config itself does not say, and takes the defaults where
// they cannot be read.
func (s *Source) Canonical(target discovery.Target) discovery.Target {
	if target.Service == "" || target.Namespace != "" && target.Domain != "" {
		return target
	}
	conf, _ := readResolvConf(s.config.ResolvConf) // Watch reports the error if it needs the file
	if target.Namespace == "" {
		target.Namespace = cmp.Or(s.config.Namespace, podNamespace(s.namespaceFile), conf.namespace(), defaultNamespace)
	}
	if target.Domain == "" {
		target.Domain = cmp.Or(s.config.Domain, conf.domain(), defaultDomain)
	}
	return target
}

// podNamespace returns nothing outside a pod.
func podNamespace(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	if name := strings.TrimSpace(string(text)); isLabel(name) {
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

// isLabel reports whether s is a DNS label in the sense of Kubernetes (RFC 1123).
func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// isDomain reports whether s consists of labels.
func isDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return len(s) <= 253
}
