package adapter

import (
	"context"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/internal/link"
)

// KeyFrom returns the Key for a request with this context, see [balancer.WithKey], if
// it has one.
func KeyFrom(ctx context.Context) (key uint64, ok bool) {
	key, ok = ctx.Value(link.HashKey{}).(uint64)
	return key, ok
}

// SetKey sets Key to the hash of the key, and HasKey, unless the key is empty.
func (r *Request) SetKey(key string) { r.Key, r.HasKey = balancer.HashKey(key), key != "" }

// Keyed reports whether the policy goes by the keys of requests, so that the
// adapter has to look for them.
func (b *Balancer) Keyed() bool {
	if _, own := b.policy.(*ownPolicy); own {
		return true // it may
	}
	return b.keyed != nil
}

// golden64 is 2⁶⁴ over the golden ratio, so that i*golden64 are far apart.
const golden64 = 0x9e3779b97f4a7c15

// mix spreads each bit over all (splitmix64).
func mix(h uint64) uint64 {
	h += golden64
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
