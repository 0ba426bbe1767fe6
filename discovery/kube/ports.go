package kube

import (
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
	appProtocol string // of a slice's port; may be empty
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
			ports = append(ports, port{name: p.Name, number: uint16(p.Port)})
		}
	}
	return ports
}

// choosePort finds out which ports of the slices a target means. The error
// wraps discovery.ErrPortNotFound.
func choosePort(want discovery.Port, f facts, current []*kubeapi.EndpointSlice) (portRule, error) {
	var ofSlices []port
	for _, slice := range current {
		ofSlices = append(ofSlices, tcpPorts(slice)...)
	}
	if f.service == nil {
		return chooseWithoutService(want, ofSlices, f.envPortNames)
	}
	ofService := servicePorts(f.service)
	switch {
	case want.Name != "":
		rule := portRule{name: want.Name}
		if slices.ContainsFunc(ofService, rule.matches) || slices.ContainsFunc(ofSlices, rule.matches) {
			return rule, nil
		}
	case want.Number != 0:
		rule := portRule{number: want.Number}
		if i := slices.IndexFunc(ofService, rule.matches); i >= 0 {
			return portRule{name: ofService[i].name}, nil
		}
		if slices.ContainsFunc(ofSlices, rule.matches) {
			return rule, nil
		}
	default:
		if len(ofService) == 1 {
			return portRule{name: ofService[0].name}, nil
		}
		return portRule{}, fmt.Errorf("%w: the target names none and the Service has %s", discovery.ErrPortNotFound, list(ofService))
	}
	return portRule{}, fmt.Errorf("%w: the Service has %s", discovery.ErrPortNotFound, list(ofService))
}

// chooseWithoutService does what can be done where the Service may not be read.
// A slice knows the names of the Service's ports but not their numbers.
// Those of a pod's own namespace may be in its environment.
func chooseWithoutService(want discovery.Port, ofSlices []port, envNames []string) (portRule, error) {
	rule := portRule{name: want.Name, number: want.Number}
	if len(ofSlices) == 0 {
		return rule, nil // there are no pods, so it does not matter
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
	return rule, fmt.Errorf("%w: the pods have %s, and to look up the Service's own ports takes the rule %s",
		discovery.ErrPortNotFound, list(ofSlices), servicesRule)
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
