package adapter

import "github.com/sidestep-lb/sidestep/balancer"

// random draws a backend.
type random struct{}

func newRandom(*balancer.Config, func() uint64) policy { return random{} }

// Picker implements policy.
func (random) Picker(backends []*Backend) picker { return randomPicker(backends) }

type randomPicker []*Backend

// Pick implements picker.
func (p randomPicker) Pick(r Request) *Backend {
	if b := p[scale(uint32(r.Random()>>32), uint32(len(p)))]; r.Admits(b) {
		return b
	}
	return nil
}
