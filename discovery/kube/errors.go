package kube

import (
	"fmt"

	"github.com/sidestep-lb/sidestep/discovery"
)

// The rules that a client's Role needs in the namespace of the Service.
const (
	slicesRule   = `{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}`
	servicesRule = `{apiGroups: [""], resources: [services], verbs: [get, list, watch]}`
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

// explain says what reading failed of, and for a 403 what would help.
func explain(target discovery.Target, what string, err error) error {
	if !forbidden(err) {
		return fmt.Errorf("%s: read %s of %s in namespace %s: %w", target, what, target.Service, target.Namespace, err)
	}
	return fmt.Errorf("%s: %w: read %s of %s in namespace %s: %w; bind this Role to the client's ServiceAccount:\n%s",
		target, discovery.ErrForbidden, what, target.Service, target.Namespace, err, Role(target.Namespace))
}
