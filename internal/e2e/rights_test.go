package e2e_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

func TestWithoutTheRoleDNSServes(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	k8s := ways[:2]
	results := startLoad(t, c, "default", k8s...).stop(t)
	theReport.add(t, "no Role: failed requests", "0", k8s, each(k8s, results, func(_ way, r *result.Result) measure {
		return measure{value: float64(r.Failed), text: fmt.Sprintf("%d of %d", r.Failed, r.Requests), judged: true}
	}))
}

func TestMissingRoleIsPrinted(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	api := slices.Clone(ways[:2])
	for i := range api {
		api[i].title, api[i].via = api[i].title+" without fall-back", "api"
	}
	results := startLoad(t, c, "default", api...).stop(t)
	for i, r := range results {
		if r.Failed == 0 || r.Failed < r.Requests {
			t.Errorf("%s: %d of %d requests failed without a Role", api[i].title, r.Failed, r.Requests)
		}
		for kind, k := range r.Kinds {
			t.Logf("%s: %d: %s: %s", api[i].title, k.Count, kind, k.First)
		}
		var text string
		for _, f := range r.Failures {
			text = cmp.Or(text, f.Text)
		}
		for _, want := range []string{"403", "kind: Role", "endpointslices", namespace} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the error does not say %q: %s", api[i].title, want, text)
			}
		}
	}
}
