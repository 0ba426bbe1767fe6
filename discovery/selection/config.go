package selection

import (
	"fmt"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// Config says which endpoints of a Service a client uses. The zero value is ready
// to use: all that kube-proxy would use on this client's node.
type Config struct {
	// Locality is where the process runs, for the topology hints of a Service and
	// internalTrafficPolicy Local. The default is what [topology.Here] finds. Without
	// a zone and a node hints do not count. Without a node a Service whose policy is
	// Local is reached through its cluster IP, see [topology.NeedsNode].
	Locality topology.Locality
	// HostsFile is the path of the hosts file. The default is /etc/hosts. A name that
	// it has, as the target is written, is served by what the file says, before the
	// Source is asked: gRPC connects to the addresses in the file (see package
	// discovery/hosts), and httpbalancer sends such requests through its base
	// transport. A change of the file counts within 5 seconds over HTTP, and in gRPC
	// when a channel begins or leaves idleness.
	HostsFile string
	// SpillOver adds the endpoints that kube-proxy would not use for hints, as
	// levels of lower priority, and makes the client's own zone the first level
	// where there are no hints (see [topology.Spill]): the next level takes over
	// as the first becomes unfit or, with a policy that measures latency, too slow.
	// gRPC's own policies know no levels and use all endpoints alike. The default is
	// to use what kube-proxy uses.
	SpillOver bool
	// SubsetSize is the number of endpoints to connect to, out of a Service that has
	// more. Set it for Services of hundreds of endpoints or more, to 20 or more. The
	// default, 0, is all of them. The subset depends on the name of the client's pod:
	// see [github.com/sidestep-lb/sidestep/discovery/selection/subset.Chooser].
	SubsetSize int
	// SubsetPeers is a target of the Service that the client itself belongs to, such
	// as "k8s:///shop", with a port if that Service has several. With it the clients
	// share out the endpoints evenly among them, as soon as they know each other
	// (subset.Bounded). Without it, or while its pods are not found or this client is
	// not one of them, each chooses for itself (subset.Rendezvous). It counts only
	// with a SubsetSize.
	SubsetPeers string
}

// Validate returns an error that names the field whose value is impossible.
func (c Config) Validate() error {
	if c.SubsetSize < 0 {
		return fmt.Errorf("SubsetSize: %d is negative", c.SubsetSize)
	}
	if c.SubsetPeers != "" {
		if _, err := discovery.ParseTarget(c.SubsetPeers); err != nil {
			return fmt.Errorf("SubsetPeers: %w", err)
		}
	}
	return nil
}
