package balancer

import "slices"

const (
	// maxDraws bounds how often the policy is asked again when it names a
	// backend that has just become unfit or has been tried before.
	maxDraws = 8
	// maxScan bounds the search after that.
	maxScan = 64
)

// Pick returns a backend for the next request and counts the request as in
// flight there, until [Backend.Done]. Backends in tried, which earlier attempts
// of the same request used, are passed over. The error is ErrEmpty or
// ErrNoneFit.
func (b *Balancer) Pick(tried []*Backend) (*Backend, error) {
	for {
		r := b.rotation.Load()
		be, err := b.pickFrom(r, tried)
		if err == nil || b.rotation.Load() == r {
			return be, err
		}
	}
}

func (b *Balancer) pickFrom(r *rotation, tried []*Backend) (*Backend, error) {
	if r.picker == nil {
		return nil, r.err
	}
	for range maxDraws {
		if be := r.picker.pick(); r.usable(be, tried) {
			return be.start(), nil
		}
	}
	return b.search(r, tried)
}

// search finds a usable backend where the policy did not: when nearly all of
// the rotation became unfit since it was published, or has been tried.
func (b *Balancer) search(r *rotation, tried []*Backend) (*Backend, error) {
	n := uint32(len(r.backends))
	first := scale(uint32(b.hooks.Random()), n)
	var spare *Backend // unfit, but there
	for i := range min(n, maxScan) {
		be := r.backends[(first+i)%n]
		if r.usable(be, tried) {
			return be.start(), nil
		}
		if !be.left.Load() {
			spare = be
		}
	}
	if b.hooks.ConnectFirst || len(tried) > 0 || spare == nil {
		return nil, ErrNoneFit
	}
	return spare.start(), nil // fail open, a moment before the rotation says so
}

func (r *rotation) usable(be *Backend, tried []*Backend) bool {
	return (r.open || be.reach.OK()) && !be.left.Load() && !slices.Contains(tried, be)
}
