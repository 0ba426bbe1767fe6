package adapter

import (
	"strconv"
	"testing"
	"unsafe"

	"github.com/sidestep-lb/sidestep/health"
)

// What a pick and its end touch is in the first two cache lines only if each
// Backend begins with one, as those of some sizes do.
func TestABackendBeginsWithACacheLine(t *testing.T) {
	var all []*Backend
	for range 100 {
		all = append(all, new(Backend))
	}
	for _, b := range all {
		if strconv.IntSize == 32 {
			break // the runtime puts 8 bytes of its own before such an object, which no size makes up for
		}
		if at := uintptr(unsafe.Pointer(b)) % 64; at != 0 {
			t.Fatalf("one of %d bytes begins %d bytes after a cache line does", unsafe.Sizeof(*b), at)
		}
	}
	var b Backend
	if end := unsafe.Offsetof(b.ended) + unsafe.Sizeof(b.ended[0])*uintptr(health.Success+1); end > 64 {
		t.Errorf("the count of successes ends at %d bytes", end)
	}
	if at := unsafe.Offsetof(b.record); at >= 128 {
		t.Errorf("the record begins at %d bytes", at)
	}
}
