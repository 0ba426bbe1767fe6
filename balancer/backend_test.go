package balancer

import (
	"testing"
	"unsafe"
)

// What a pick and its end touch is in the first two cache lines only if each
// Backend begins with one, that is, if its size is one of the allocator's that
// are multiples of 64 bytes.
func TestABackendIsFiveCacheLines(t *testing.T) {
	var b Backend
	if n := unsafe.Sizeof(b); n > 320 {
		t.Errorf("%d bytes", n)
	}
	if at := unsafe.Offsetof(b.ended) + unsafe.Sizeof(b.ended[0])*3; at != 64 {
		t.Errorf("the first cache line ends %d bytes after the counts of successes and failures", 64-int(at))
	}
	if at := unsafe.Offsetof(b.record); at >= 128 {
		t.Errorf("the record is at %d bytes", at)
	}
}
