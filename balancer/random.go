package balancer

// random draws a backend.
type random struct{}

func newRandom(*Config, func() uint64) namedPolicy { return namedPolicy{random{}, false} }

// Picker implements Policy.
func (random) Picker(backends []*Backend) Picker { return randomPicker(backends) }

type randomPicker []*Backend

// Pick implements Picker.
func (p randomPicker) Pick(r Request) *Backend {
	if b := p[scale(uint32(r.Random()>>32), uint32(len(p)))]; r.Admits(b) {
		return b
	}
	return nil
}
