package balancer

import (
	"context"
	"encoding/binary"
	"strings"

	"github.com/sidestep-lb/sidestep/balancer/internal/link"
)

// A KeySource says where the key of a request is, if [WithKey] gave none.
type KeySource struct {
	Header string `json:"header,omitempty"` // or metadata in gRPC; several values are joined with commas (gRFC A76)
	Cookie string `json:"cookie,omitempty"` // if there is no such header; not in gRPC
}

// HashKey returns the hash of a key, which is the same in all programs and versions. It
// does not protect against keys that are made to collide.
func HashKey(key string) uint64 {
	h := uint64(len(key)) * golden64
	for ; len(key) >= 8; key = key[8:] {
		h = mix(h ^ binary.LittleEndian.Uint64([]byte(key[:8])))
	}
	var last uint64
	for i := range len(key) {
		last = last<<8 | uint64(key[i])
	}
	return mix(h ^ last)
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

// WithKey returns a context whose requests RingHash and Maglev send to one backend while
// it is fit and has room, from every client. An empty key is none.
func WithKey(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	return context.WithValue(ctx, link.HashKey{}, HashKey(key))
}

// isToken reports whether the name could be one of a header or a cookie (RFC
// 9110, section 5.6.2), or is empty.
func isToken(name string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", c)
	})
}
