package balancer

import (
	"context"
	"encoding/binary"
	"strings"

	"github.com/sidestep-lb/sidestep/balancer/internal/link"
)

// A KeySource says where the adapters find the key of a request that has none
// of WithKey's. Values that are absent or empty are no keys.
type KeySource struct {
	// Header is the name of a header, in gRPC of an entry of the metadata. It goes
	// before Cookie. Several values count as one, joined with commas (gRFC A76).
	Header string `json:"header,omitempty"`
	// Cookie is the name of a cookie. gRPC has none.
	Cookie string `json:"cookie,omitempty"`
}

// HashKey turns a key, such as the number of a user, into the Key of a Request.
// It is the same in all programs and versions, spreads keys that are alike, and
// is no protection from somebody who wants many keys for one backend.
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

// WithKey returns a context whose requests belong together: by the policies
// RingHash and Maglev all requests with this key go to the same backend, from
// every client, for as long as it is fit and has room. It goes before
// Config.HashKey. An empty key is none.
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
