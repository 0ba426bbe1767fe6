package topology

import (
	"cmp"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
)

// A Locality is where a client runs. Empty fields are unknown; hints then never
// match, and the client uses the whole cluster.
type Locality struct{ Node, Zone string }

// Where the downward API says what this process cannot know by itself.
const (
	envNode   = "SIDESTEP_NODE"
	envZone   = "SIDESTEP_ZONE"
	envLabels = "SIDESTEP_LABELS"
	usualNode = "NODE_NAME"
	usualFile = "/etc/podinfo/labels"
	zoneLabel = "topology.kubernetes.io/zone"
	maxLabels = 1 << 20 // bytes; an object of the API may have 1.5 MB in all
)

// Here returns where this process runs, as far as its pod's manifest tells it
// through the downward API. What it does not tell stays empty; Here never fails.
//
//   - The node is in the environment variable SIDESTEP_NODE, or else NODE_NAME
//     (fieldRef spec.nodeName).
//   - The zone is in the environment variable SIDESTEP_ZONE, or else it is the
//     label topology.kubernetes.io/zone in the file that SIDESTEP_LABELS names,
//     by default /etc/podinfo/labels (a downwardAPI volume with metadata.labels).
//     Kubernetes copies this label from the node to its pods from version 1.35
//     on (KEP-4742).
//
// None of it changes while a pod runs, so once is enough to call it. Where the
// zone stays unknown, [Locality.Infer] may find it.
func Here() Locality {
	at := Locality{
		Node: cmp.Or(env(envNode), env(usualNode)),
		Zone: env(envZone),
	}
	if at.Zone == "" {
		at.Zone = label(readLabels(cmp.Or(env(envLabels), usualFile)), zoneLabel)
	}
	return at
}

// Infer returns l with a zone: if l has none, that of any endpoint on l's node.
// An endpoint need not be ready for that. The zone stays unknown while no
// endpoint of the Snapshot runs on the node, so that it may come and go with
// them; keep one that was found.
func (l Locality) Infer(s *discovery.Snapshot) Locality {
	if l.Zone != "" || l.Node == "" {
		return l
	}
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; e.Node == l.Node && e.Zone != "" {
			l.Zone = e.Zone
			break
		}
	}
	return l
}

// String says it for a person.
func (l Locality) String() string {
	return "node " + cmp.Or(l.Node, "unknown") + ", zone " + cmp.Or(l.Zone, "unknown")
}

func env(name string) string { return strings.TrimSpace(os.Getenv(name)) }

func readLabels(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxLabels))
	if err != nil {
		return ""
	}
	return string(text)
}

// label returns the value of key in a label file of the downward API, or "". A
// line of it is key="value", quoted as in Go (FormatMap in
// k8s.io/kubernetes/pkg/fieldpath). What is no such line is passed over.
func label(text, key string) string {
	for line := range strings.Lines(text) {
		name, quoted, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name != key {
			continue
		}
		if value, err := strconv.Unquote(quoted); err == nil {
			return value
		}
	}
	return ""
}
