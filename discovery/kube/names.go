package kube

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

// defaultDomain is the cluster's domain where nothing tells it: that of kubeadm
// and of most clusters.
const defaultDomain = "cluster.local"

// Canonical returns target with its namespace filled in, where something tells
// it, and without the cluster's own domain: all names of a Service share a watch. A
// Domain that stays is another one's, and its names are no Services of this
// cluster; see [ForeignNameError].
func (s *Source) Canonical(target discovery.Target) discovery.Target {
	if target.Service == "" {
		return target
	}
	if target.Namespace == "" {
		target.Namespace = s.knownNamespace()
	}
	if target.Domain != "" && normalDomain(target.Domain) == s.domain() {
		target.Domain = ""
	}
	return target
}

// Domain returns the cluster's domain, in lower case and without a last dot: see
// Config.Domain.
func (s *Source) Domain() string { return s.domain() }

func (s *Source) clusterDomain() string {
	if s.config.Domain != "" {
		return normalDomain(s.config.Domain)
	}
	domain := s.resolvConf().Domain()
	if domain == "" && s.config.Host == "" {
		token, _ := os.ReadFile(filepath.Join(s.accountDir, "token")) // as good as empty if there is none
		domain = issuerDomain(token)
	}
	return cmp.Or(domain, defaultDomain)
}

func normalDomain(domain string) string { return strings.ToLower(strings.TrimSuffix(domain, ".")) }

// knownNamespace returns what ownNamespace has told, and asks again until it tells
// something: a file may appear.
func (s *Source) knownNamespace() string {
	if known := s.known.Load(); known != nil {
		return *known
	}
	namespace := s.ownNamespace()
	if namespace != "" {
		s.known.Store(&namespace)
	}
	return namespace
}

// ownNamespace returns "" where nothing tells the namespace.
func (s *Source) ownNamespace() string {
	if s.config.Namespace != "" {
		return s.config.Namespace
	}
	return cmp.Or(s.podNamespace(), s.resolvConf().Namespace())
}

// podNamespace returns the namespace of the process's pod if that has a service
// account.
func (s *Source) podNamespace() string {
	content, _ := os.ReadFile(filepath.Join(s.accountDir, "namespace")) // as good as empty if there is none
	return strings.TrimSpace(string(content))
}

// resolvConf returns what the pod's resolv.conf says, which is nothing where it
// cannot be read.
func (s *Source) resolvConf() podfiles.ResolvConf {
	conf, _ := podfiles.ReadResolvConf(cmp.Or(s.config.ResolvConf, podfiles.ResolvConfFile))
	return conf
}

// issuerDomain returns the cluster's domain if the issuer of a service account's
// token tells it. Where API servers issue tokens under their own name, as those of
// kubeadm do, that is https://kubernetes.default.svc.DOMAIN.
func issuerDomain(token []byte) string {
	parts := bytes.Split(bytes.TrimSpace(token), []byte("."))
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(string(parts[1]))
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	domain, found := strings.CutPrefix(claims.Issuer, "https://kubernetes.default.svc.")
	if domain = normalDomain(domain); !found || !podfiles.IsDomain(domain) {
		return ""
	}
	return domain
}

// A ForeignNameError says that a target's name is in another domain than the
// cluster's, such as quiz.kiada.svc.clusterset.local of the Multi-Cluster Services
// API (KEP-1645) or quiz.kiada.svc.east.example.com: whatever Service this cluster
// has under the same first labels, it is another one. It wraps
// discovery.ErrServiceNotFound and is what a Snapshot's Reason wraps. Config.Domain
// says what the cluster's domain is.
type ForeignNameError struct {
	// Target is what was asked for.
	Target discovery.Target
	// Domain is the cluster's.
	Domain string
}

// Error implements error.
func (e *ForeignNameError) Error() string {
	return fmt.Sprintf("%s: %v: the domain of the name is %s, and that of this cluster is %s",
		e.Target, discovery.ErrServiceNotFound, e.Target.Domain, e.Domain)
}

// Unwrap returns discovery.ErrServiceNotFound.
func (e *ForeignNameError) Unwrap() error { return discovery.ErrServiceNotFound }

// Alias returns the name as a target that DNS can resolve, which
// discovery.Fallback does.
func (e *ForeignNameError) Alias() discovery.Target {
	t := e.Target
	t.Scheme, t.Via = discovery.SchemeHeadless, ""
	return t
}

// foreign returns the Snapshot of a name in another domain. There is no way to it
// from outside its cluster: DNS knows none.
func (s *Source) foreign(target discovery.Target) *discovery.Snapshot {
	foreign := &ForeignNameError{Target: target, Domain: s.domain()}
	if target.Via != "" {
		return &discovery.Snapshot{Reason: fmt.Errorf("%s: %w: the domain of the name is %s, and that of this cluster is %s",
			target, discovery.ErrServiceNotFound, target.Domain, s.domain())}
	}
	return &discovery.Snapshot{Reason: foreign}
}

// errNoNamespace says that a target names no namespace and nothing else does.
func errNoNamespace(target discovery.Target) error {
	return fmt.Errorf("%s: %w: the target names no namespace, and neither kube.Config.Namespace nor a service account nor the search path of resolv.conf tells the client's own: "+
		"write %s:///%s.NAMESPACE", target, discovery.ErrUnavailable, target.Scheme, target.Service)
}
