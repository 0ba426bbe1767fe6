package adapter

import "slices"

// A Request is what a pick is made for. The zero value is any request.
type Request struct {
	// Key says which requests belong together, for the policies ring_hash and
	// maglev, see [HashKey]. It counts if HasKey is set.
	Key uint64
	// Class says which requests take about as long as each other, such as a hash of
	// the gRPC method. 0 is not known.
	Class uint64
	// Tried are the backends that earlier attempts of the same request used.
	// They are passed over.
	Tried []*Backend
	// HasKey says that there is a Key.
	HasKey bool
	// Stream says that the request is a stream. That it has no answer for a while is
	// no sign of trouble then. Requests of a class that takes long, such as long polls,
	// count as streams, too, and so do those of a class that has not been answered yet.
	Stream bool

	// Filled in by Pick.
	anyPace  bool   // take backends that should have fewer requests, too
	ignore   uint32 // flags that do not count: there are no backends without them
	balancer *Balancer
	now      int64
}

// Now returns the time in nanoseconds since some moment, if the policy keeps
// time, and otherwise usually zero.
func (r *Request) Now() int64 { return r.now }

// Random returns 64 random bits.
func (r *Request) Random() uint64 { return r.balancer.hooks.Random() }

// Admits reports whether the request may go to b now: whether b is fit, was not
// tried before, has room for another request, and is not held back, as a newcomer
// or because it asked for that. The answer for a backend in slow start is a matter
// of chance, so a policy asks once for each that it considers.
func (r *Request) Admits(b *Backend) bool {
	flags := b.flags.Load()
	if flags == 0 && len(r.Tried) == 0 && r.balancer.config.MaxInFlight == 0 {
		return true
	}
	return r.usable(b, flags) && (r.anyPace || r.paced(b, flags))
}

// usable reports whether the request may go to b if it must.
func (r *Request) usable(b *Backend, flags uint32) bool {
	if flags&^r.ignore&(unreachable|probesFailing|ejected|left) != 0 || slices.Contains(r.Tried, b) {
		return false
	}
	limit := r.balancer.config.MaxInFlight
	return limit == 0 || b.InFlight() < int64(limit)
}

// paced reports whether b is not held back.
func (r *Request) paced(b *Backend, flags uint32) bool {
	flags &^= r.ignore
	if flags&(joining|retryAfter|warming) == 0 {
		return true
	}
	now := r.balancer.hooks.Now()
	if flags&retryAfter != 0 && b.inRetryAfter(now) {
		return false
	}
	if flags&joining != 0 {
		if ramp := b.ramp.Load(); ramp != nil && !r.Stream && !ramp.admits(b, now) {
			return false
		}
	}
	return flags&warming == 0 || b.isIdle(now) || float64(r.Random()>>11)/(1<<53) < b.share(now)
}
