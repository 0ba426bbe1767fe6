package topology

import "github.com/sidestep-lb/sidestep/discovery"

// Spill is Select with further levels, for clients that would rather go
// elsewhere than fail when level 0 fails or drowns. That goes beyond kube-proxy.
// Where hints chose level 0, the other ready endpoints follow: those of the
// client's zone, and then those of the whole cluster. Where they did not, the
// endpoints of the client's zone are level 0. Each endpoint has the number of
// its level for its Priority.
//
// There is no further level for a Service whose internalTrafficPolicy is Local,
// which forbids it, nor as long as no endpoint is ready.
func Spill(s *discovery.Snapshot, at Locality) [][]discovery.Endpoint {
	found := inspect(s, at)
	mode := found.mode()
	var levels [3][]discovery.Endpoint
	switch mode {
	case All, SameNode, SameZone:
	default:
		return Select(s, at)
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		switch {
		case !e.Ready:
		case mode != All && mode.admits(e, at):
			levels[0] = append(levels[0], *e)
		case at.Zone != "" && e.Zone == at.Zone:
			levels[1] = append(levels[1], *e)
		default:
			levels[2] = append(levels[2], *e)
		}
	}
	var filled [][]discovery.Endpoint
	for _, level := range levels {
		if len(level) == 0 {
			continue
		}
		for i := range level {
			level[i].Priority = uint8(len(filled))
		}
		filled = append(filled, level)
	}
	return filled
}
