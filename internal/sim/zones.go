package main

import (
	"strconv"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// zones says how many of the clients and of the servers are in the first of two
// zones. The others are in the second. The zero value is a single zone.
type zones struct{ clients, servers int }

func (z zones) ofClient(id int) int { return zoneOf(id, z.clients) }

func (z zones) ofServer(id int) int { return zoneOf(id, z.servers) }

func zoneOf(id, first int) int {
	if first == 0 || id < first {
		return 0
	}
	return 1
}

// spilling returns the endpoints with the priorities that a client has with
// SpillOver: its own zone, then the other.
func spilling(endpoints []discovery.Endpoint, servers []*server, zone int) []discovery.Endpoint {
	for i := range endpoints {
		endpoints[i].Zone = zoneName(servers[i].zone)
	}
	var all []discovery.Endpoint
	for _, level := range topology.Spill(&discovery.Snapshot{Endpoints: endpoints}, topology.Locality{Zone: zoneName(zone)}) {
		all = append(all, level...)
	}
	return all
}

func zoneName(zone int) string { return "zone-" + strconv.Itoa(zone) }
