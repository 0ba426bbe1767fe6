package health

// How many probes in a row change the state of a backend. These are the
// kubelet's defaults for readiness probes.
const (
	probesToFail = 3
	probesToHeal = 1
)

// Probing is what active probes have found out about a backend: it is sick from
// the third probe in a row that fails until one succeeds. The zero value is
// healthy. It is for one goroutine at a time.
type Probing struct {
	sick   bool
	streak int // of probes that speak against the state
}

// Sick reports whether the backend is to be out of rotation.
func (p *Probing) Sick() bool { return p.sick }

// Observe takes note of a probe, and reports whether the state has changed.
func (p *Probing) Observe(ok bool) (changed bool) {
	if ok != p.sick {
		p.streak = 0
		return false
	}
	p.streak++
	if p.streak < probesToFail && !p.sick || p.streak < probesToHeal {
		return false
	}
	p.sick, p.streak = !p.sick, 0
	return true
}
