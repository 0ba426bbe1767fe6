package topology_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery/topology"
)

func TestTheManifestSaysWhereAProcessRuns(t *testing.T) {
	const labels = "app=\"shop\"\ntopology.kubernetes.io/region=\"r\"\ntopology.kubernetes.io/zone=\"zone-b\"\n"
	for name, test := range map[string]struct {
		env    map[string]string
		labels string
		want   topology.Locality
	}{
		"nothing":                    {},
		"our variables":              {env: map[string]string{"SIDESTEP_NODE": "n1", "SIDESTEP_ZONE": "za"}, want: topology.Locality{Node: "n1", Zone: "za"}},
		"the usual node variable":    {env: map[string]string{"NODE_NAME": "n2"}, want: topology.Locality{Node: "n2"}},
		"ours before the usual":      {env: map[string]string{"NODE_NAME": "n2", "SIDESTEP_NODE": "n1"}, want: topology.Locality{Node: "n1"}},
		"the label file":             {labels: labels, want: topology.Locality{Zone: "zone-b"}},
		"the variable before a file": {env: map[string]string{"SIDESTEP_ZONE": " za\n"}, labels: labels, want: topology.Locality{Zone: "za"}},
		"a file without the label":   {labels: "app=\"topology.kubernetes.io/zone\"\n"},
		"a line that is cut short":   {labels: "topology.kubernetes.io/zone=\"zone"},
		"quoted as in Go":            {labels: `topology.kubernetes.io/zone="z\u006fne-b"`, want: topology.Locality{Zone: "zone-b"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"SIDESTEP_NODE", "SIDESTEP_ZONE", "NODE_NAME"} {
				t.Setenv(variable, test.env[variable])
			}
			path := filepath.Join(t.TempDir(), "labels")
			t.Setenv("SIDESTEP_LABELS", path)
			if test.labels != "" {
				if err := os.WriteFile(path, []byte(test.labels), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := topology.Here(); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestALabelFileThatIsNoneIsAsGoodAsNone(t *testing.T) {
	t.Setenv("SIDESTEP_ZONE", "")
	huge := filepath.Join(t.TempDir(), "huge")
	if err := os.WriteFile(huge, []byte(strings.Repeat("x=\"y\"\n", 1<<19)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{t.TempDir(), huge, "/nowhere/at/all"} {
		t.Setenv("SIDESTEP_LABELS", path)
		if zone := topology.Here().Zone; zone != "" {
			t.Errorf("zone %q from %s", zone, path)
		}
	}
}

func TestAnUnknownZoneIsThatOfTheEndpointsOnTheSameNode(t *testing.T) {
	s := snapshot(t, false, "a ready zone=za", "b ready node=n1", "c node=n1 zone=zb", "d ready node=n2 zone=zc")
	for at, want := range map[topology.Locality]string{
		{Node: "n1"}:             "zb",
		{Node: "n2"}:             "zc",
		{Node: "n1", Zone: "zx"}: "zx",
		{Node: "n3"}:             "",
		{}:                       "",
	} {
		if got := at.Infer(s); got != (topology.Locality{Node: at.Node, Zone: want}) {
			t.Errorf("%v: inferred %v, want zone %q", at, got, want)
		}
	}
}
