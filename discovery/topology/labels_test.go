package topology

import (
	"fmt"
	"strings"
	"testing"
)

// The kubelet writes key=%q; whatever it writes is read back, wherever it stands
// between lines of any other kind.
func FuzzLabelFile(f *testing.F) {
	f.Add("app=\"shop\"\n", "zone-a")
	f.Add("topology.kubernetes.io/zone=zone-a\n", "zone-b")
	f.Add("topology.kubernetes.io/zone=\"", "\"\n\x00=")
	f.Add("=\n==\"\"\r\n`", "ö")
	f.Fuzz(func(t *testing.T, noise, zone string) {
		if label(noise, zoneLabel) != "" || strings.ContainsRune(zone, '\uFFFD') {
			return // has a zone of its own
		}
		text := noise + "\n" + fmt.Sprintf("%s=%q\n", zoneLabel, zone) + noise
		if got := label(text, zoneLabel); got != zone {
			t.Errorf("%q from %q", got, text)
		}
	})
}
