package balancer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

const maxChoices = 10 // of gRFC A48

// Validate returns an error that names the field whose value is impossible.
func (c Config) Validate() error {
	fail := func(field, problem string) error { return fmt.Errorf("%s: %s", field, problem) }
	known := slices.Contains(Policies(), cmp.Or(c.Policy, Adaptive))
	switch {
	case !known:
		return fail("policy", fmt.Sprintf("%q is unknown; known are %s", c.Policy, strings.Join(Policies(), ", ")))
	case c.Choices != 0 && (c.Choices < 2 || c.Choices > maxChoices):
		return fail("choices", "want 2 to 10")
	case !(c.ActiveRequestBias >= 0 && c.ActiveRequestBias <= 100):
		return fail("activeRequestBias", "want 0 to 100")
	case !isToken(c.HashKey.Header):
		return fail("hashKey.header", "it is no name of a header")
	case !isToken(c.HashKey.Cookie):
		return fail("hashKey.cookie", "it is no name of a cookie")
	case c.BoundedLoad != 0 && !(c.BoundedLoad > 1 && c.BoundedLoad < math.Inf(1)):
		return fail("boundedLoad", "want more than 1")
	case c.MaxInFlight < 0:
		return fail("maxInFlight", "it is negative")
	case !(c.AnsweredLoad <= 1):
		return fail("answeredLoad", "want 1 at most")
	case c.MaxEjectedPercent > 100:
		return fail("maxEjectedPercent", "want 100 at most")
	}
	return nil
}
