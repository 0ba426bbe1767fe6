package kubeapi

import (
	"sync"
	"time"
)

// progress is how far a ListWatch has come.
type progress struct {
	// version is where to watch on from, an opaque string. Empty means that a
	// list is due, streaming or plain.
	version string
	// plain asks for a plain list, as the streaming one has just failed.
	plain bool
	// stale allows the list to come from the server's cache, whatever its age.
	// After an expired version it must not, or it might expire again.
	stale bool
	// failed is set while the handler knows of a failure.
	failed bool
	// moved is set by the first event after a list.
	moved bool
	// broken counts the watches in a row that broke off without any event.
	broken int

	mu sync.Mutex // held while version changes in a watch
	// known are the versions of the objects, by name, to see whether another list
	// is the same. Guarded by mu.
	known map[string]string
}

// listed notes a complete list.
func (p *progress) listed(version string, known map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version, p.failed, p.moved, p.broken, p.known = version, false, false, 0, known
}

// fail tells the handler of a failure.
func (p *progress) fail(h sink, err error) {
	p.failed = true
	h.Failed(err)
}

// missedIn is how long a watch that goes on after a failure has to bring the
// changes that were missed. The server sends them at once, and nothing tells
// which is the last.
const missedIn = 500 * time.Millisecond

// recover tells the handler that news is coming. After a failure it tells it
// together with the changes that were missed: what the handler knows is out of
// date, and others may know better meanwhile. The caller calls what it returns
// when the watch ends.
func (p *progress) recover(h sink) (end func()) {
	if !p.failed {
		h.Healthy()
		return func() {}
	}
	p.failed = false
	h.hold()
	timer := time.AfterFunc(missedIn, h.release)
	return func() {
		timer.Stop()
		h.release()
	}
}

// changed notes the change of an object.
func (p *progress) changed(kind string, object identity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case kind == Deleted:
		delete(p.known, object.name)
	case p.known == nil:
		p.known = map[string]string{object.name: object.version}
	default:
		p.known[object.name] = object.version
	}
}

// at notes how far a watch has come.
func (p *progress) at(version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version = version
}
