package kube

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// The rules that a client's Role needs in the namespace of the Service.
const (
	slicesRule    = `{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}`
	endpointsRule = `{apiGroups: [""], resources: [endpoints], verbs: [list, watch]}` // for Config.API Endpoints
	servicesRule  = `{apiGroups: [""], resources: [services], verbs: [get, list, watch]}`
)

// Role returns, as YAML, the least Role that a client of the Services in
// namespace needs. It has yet to be bound to the client's ServiceAccount.
func Role(namespace string) string {
	return fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: sidestep, namespace: %s}
rules:
- %s
- %s
`, namespace, slicesRule, servicesRule)
}

// What an explanation calls that which cannot be read.
const (
	theSlices    = "the EndpointSlices"
	theEndpoints = "the Endpoints"
)

// explain says what reading failed of, and for a 403 what would help.
func explain(target discovery.Target, what string, err error) error {
	switch {
	case answered(err, http.StatusUnauthorized):
		return fmt.Errorf("%s: %w: read %s of %s in namespace %s: %w", target, discovery.ErrUnauthenticated, what, target.Service, target.Namespace, err)
	case !forbidden(err):
		return fmt.Errorf("%s: read %s of %s in namespace %s: %w", target, what, target.Service, target.Namespace, err)
	}
	role := Role(target.Namespace)
	switch what {
	case theNodes:
		role = ClusterRole()
	case theEndpoints:
		role = strings.Replace(role, slicesRule, endpointsRule, 1)
	}
	return fmt.Errorf("%s: %w: read %s of %s in namespace %s: %w; bind this Role to the client's ServiceAccount:\n%s",
		target, discovery.ErrForbidden, what, target.Service, target.Namespace, err, role)
}

// A partialError is why something other than the endpoints cannot be read, which
// are up to date.
type partialError struct{ error }

func (e partialError) Unwrap() error { return e.error }

// Partial is for discovery.Fallback, which has no reason to ask elsewhere then.
func (partialError) Partial() bool { return true }

// An ExternalNameError says that a Service is of type ExternalName: an alias of
// a host name, with no endpoints of its own; or that it is to be reached through
// its load balancer and that has but a host name. It wraps discovery.ErrNoEndpoints
// and is what a Snapshot's Reason wraps, so that a caller can go on to the host:
//
//	if alias, ok := errors.AsType[*kube.ExternalNameError](snapshot.Reason); ok {
//		// look up alias.Name by DNS
//	}
type ExternalNameError struct {
	// Name is the host name as the Service has it, without a check: whoever may
	// write the Service chooses it.
	Name string
	// Port is the target's port, and the host's as well, since nothing translates
	// it on the way. Where the target has a name, or no port, it is the number
	// that the Service lists for that, if it lists one.
	Port discovery.Port

	balancer bool // the name is that of a load balancer
}

// Error implements error.
func (e *ExternalNameError) Error() string {
	port := ""
	if !e.Port.IsZero() {
		port = ", port " + e.Port.String()
	}
	what := "the Service is of type ExternalName, an alias of"
	if e.balancer {
		what = "its load balancer is known by its host name alone,"
	}
	return fmt.Sprintf("%v: %s %s%s, and never has any", discovery.ErrNoEndpoints, what, e.Name, port)
}

// Unwrap returns discovery.ErrNoEndpoints.
func (e *ExternalNameError) Unwrap() error { return discovery.ErrNoEndpoints }

// Alias returns the host as a target that DNS can resolve, which
// discovery.Fallback does. Its name is absolute, with a last dot.
func (e *ExternalNameError) Alias() discovery.Target {
	return discovery.Target{Scheme: discovery.SchemeHeadless, Name: strings.TrimSuffix(e.Name, ".") + ".", Port: e.Port}
}

func newExternalNameError(service *kubeapi.Service, port discovery.Port) *ExternalNameError {
	if port.Number == 0 {
		listed := servicePorts(service)
		if i := slices.IndexFunc(listed, portRule{name: port.Name}.matches); i >= 0 {
			port = discovery.Port{Number: listed[i].number}
		} else if port.IsZero() && len(listed) == 1 {
			port = discovery.Port{Number: listed[0].number}
		}
	}
	return &ExternalNameError{Name: service.Spec.ExternalName, Port: port}
}
