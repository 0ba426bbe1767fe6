package kube

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// A port is a TCP port of a Service or of a slice. Its name may be empty.
type port struct {
	name        string
	number      uint16
	appProtocol string // may be empty
}

func (p port) String() string {
	if p.name == "" {
		return strconv.Itoa(int(p.number))
	}
	return fmt.Sprintf("%s (%d)", p.name, p.number)
}

// A portRule says which ports of the slices serve a target. Slices of one
// Service may have different numbers for the same name.
type portRule struct {
	name   string
	number uint16 // if not 0, it and not the name decides
	// ofPods says that number is the pods' own, whatever ports the slices have.
	ofPods bool
	// appProtocol is what the Service says. That of a slice's port goes before it:
	// either may have one (GEP-1911), and the slice is what somebody may write by hand.
	appProtocol string
	// serviceNumber is the number of the Service's own port, 0 where it has none or
	// is not known.
	serviceNumber uint16
}

// serves returns the ports of a slice that serve the target.
func (r portRule) serves(slice *kubeapi.EndpointSlice) []port {
	if r.ofPods {
		return []port{{number: r.number}}
	}
	var found []port
	for _, p := range tcpPorts(slice) {
		if r.matches(p) {
			p.appProtocol = cmp.Or(p.appProtocol, r.appProtocol)
			found = append(found, p)
		}
	}
	return found
}

func (r portRule) matches(p port) bool {
	if r.number != 0 {
		return p.number == r.number
	}
	return p.name == r.name
}

// tcpPorts returns the ports of a slice that can be dialled. A port without a
// number is "used for other purposes" and left out, as kube-proxy does.
func tcpPorts(slice *kubeapi.EndpointSlice) []port {
	var ports []port
	for _, p := range slice.Ports {
		if p.Protocol != nil && *p.Protocol != kubeapi.ProtocolTCP {
			continue
		}
		if p.Port == nil || *p.Port < 1 || *p.Port > 65535 {
			continue
		}
		found := port{number: uint16(*p.Port), appProtocol: p.AppProtocol}
		if p.Name != nil {
			found.name = *p.Name
		}
		ports = append(ports, found)
	}
	return ports
}

func servicePorts(service *kubeapi.Service) []port {
	var ports []port
	for _, p := range service.Spec.Ports {
		if (p.Protocol == "" || p.Protocol == kubeapi.ProtocolTCP) && 1 <= p.Port && p.Port <= 65535 {
			ports = append(ports, port{name: p.Name, number: uint16(p.Port), appProtocol: p.AppProtocol})
		}
	}
	return ports
}

// choosePort finds out which ports of the slices a target means. The error
// wraps discovery.ErrPortNotFound.
func choosePort(want discovery.Port, f serviceState, current []*kubeapi.EndpointSlice) (portRule, error) {
	var ofSlices []port
	for _, slice := range current {
		ofSlices = append(ofSlices, tcpPorts(slice)...)
	}
	if f.service == nil {
		return chooseWithoutService(want, ofSlices, f.envPortNames, areHeadless(current))
	}
	ofService := servicePorts(f.service)
	switch {
	case want.Name != "":
		rule := portRule{name: want.Name}
		if i := slices.IndexFunc(ofService, rule.matches); i >= 0 {
			return ofService[i].rule(), nil
		}
		if slices.ContainsFunc(ofSlices, rule.matches) {
			return rule, nil
		}
	case want.Number != 0:
		rule := portRule{number: want.Number}
		if i := slices.IndexFunc(ofService, rule.matches); i >= 0 {
			return ofService[i].rule(), nil
		}
		if i := slices.IndexFunc(ofSlices, rule.matches); i >= 0 {
			if j := slices.IndexFunc(ofService, portRule{name: ofSlices[i].name}.matches); j >= 0 {
				rule.appProtocol = ofService[j].appProtocol
			}
			return rule, nil
		}
		// Nothing translates the ports of a headless Service: DNS gives the addresses
		// of the pods, and the number is the pods' own (Kubernetes DNS specification,
		// 2.4.1). Nobody forwards a port that is not the Service's from a cluster IP.
		if isHeadless(f.service) {
			rule.ofPods = true
			return rule, nil
		}
	default:
		if len(ofService) == 1 {
			return ofService[0].rule(), nil
		}
		return portRule{}, fmt.Errorf("%w: the target names none and the Service has %s", discovery.ErrPortNotFound, list(ofService))
	}
	return portRule{}, fmt.Errorf("%w: the Service has %s", discovery.ErrPortNotFound, list(ofService))
}

// rule returns the rule for a port of the Service.
func (p port) rule() portRule {
	return portRule{name: p.name, appProtocol: p.appProtocol, serviceNumber: p.number}
}

// isHeadless reports whether a Service has no cluster IP and is meant to have none.
func isHeadless(service *kubeapi.Service) bool {
	return service.Spec.ClusterIP == kubeapi.ClusterIPNone
}

// chooseWithoutService does what can be done where the Service may not be read.
// A slice knows the names of the Service's ports but not their numbers.
// Those of a pod's own namespace may be in its environment. The slices of a
// headless Service have a label that says so.
func chooseWithoutService(want discovery.Port, ofSlices []port, envNames []string, headless bool) (portRule, error) {
	rule := portRule{name: want.Name, number: want.Number}
	if len(ofSlices) == 0 {
		rule.ofPods = headless && want.Number != 0
		return rule, nil // without pods it does not matter
	}
	if want.Number != 0 {
		for _, name := range envNames {
			if named := (portRule{name: name}); slices.ContainsFunc(ofSlices, named.matches) {
				return named, nil
			}
		}
	}
	if !want.IsZero() && slices.ContainsFunc(ofSlices, rule.matches) {
		return rule, nil
	}
	if want.Name != "" {
		return rule, fmt.Errorf("%w: the pods have %s", discovery.ErrPortNotFound, list(ofSlices))
	}
	only := portRule{name: ofSlices[0].name}
	if !slices.ContainsFunc(ofSlices, func(p port) bool { return !only.matches(p) }) {
		return only, nil
	}
	if headless && want.Number != 0 {
		rule.ofPods = true
		return rule, nil
	}
	return rule, fmt.Errorf("%w: the pods have %s, and to look up the Service's own ports takes the rule %s",
		discovery.ErrPortNotFound, list(ofSlices), servicesRule)
}

// areHeadless reports whether the label that the EndpointSlice controller puts on
// the slices of headless Services is on all.
func areHeadless(current []*kubeapi.EndpointSlice) bool {
	return !slices.ContainsFunc(current, func(slice *kubeapi.EndpointSlice) bool { return slice.Labels.Headless == nil })
}

// maxListed is how many ports an error lists.
const maxListed = 20

func list(ports []port) string {
	var texts []string
	for _, p := range ports {
		texts = append(texts, p.String())
	}
	slices.Sort(texts)
	texts = slices.Compact(texts)
	if len(texts) == 0 {
		return "no TCP port"
	}
	if len(texts) > maxListed {
		texts = append(texts[:maxListed], "…")
	}
	return strings.Join(texts, ", ")
}
