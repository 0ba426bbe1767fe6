package kubetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// historyLimit is how many changes a watch can resume over.
const historyLimit = 1000

type key struct {
	resource        *resource
	namespace, name string
}

// record is an object as it was at one revision. Nothing in it changes.
type record struct {
	key
	uid      string
	labels   map[string]string
	revision int64
	item     json.RawMessage // in a list: without kind and apiVersion
	whole    json.RawMessage // alone: with them
}

// change is one step of the history, a linked list that watches walk at their
// own pace: one that is slow holds up nobody, and misses nothing.
type change struct {
	revision int64
	key      key
	was, is  *record         // nil: there was, or is, no such object
	gone     json.RawMessage // what was, at this revision: how a watch is told that it is gone

	next *change // readable once done is closed
	done chan struct{}
}

// store holds the objects and what became of them.
type store struct {
	mu      sync.Mutex
	objects map[key]stored // guarded by mu, as are those below
	oldest  *change        // watches resume from here at the earliest
	newest  *change
	length  int // of the history from oldest to newest
	// forgotten is the revision of the last change of a resource that is not in
	// the history.
	forgotten map[*resource]int64
}

// stored is an object, which belongs to the store, and its current record.
type stored struct {
	object object
	record *record
}

func newStore() *store {
	first := &change{revision: 1, done: make(chan struct{})}
	return &store{objects: make(map[key]stored), oldest: first, newest: first, forgotten: make(map[*resource]int64)}
}

// set creates or updates an object, which is the store's from now on.
func (s *store) set(r *resource, o object) {
	meta := o.metadata()
	if (meta.Namespace == "") != r.ofCluster || meta.Name == "" {
		panic(fmt.Sprintf("kubetest: a %s cannot have namespace %q and name %q", r.kind, meta.Namespace, meta.Name))
	}
	s.mu.Lock()
	defer s.mu.Unlock()

	k := key{r, meta.Namespace, meta.Name}
	was, exists := s.objects[k]
	revision := s.newest.revision + 1
	switch {
	case meta.UID != "":
	case exists:
		meta.UID = was.record.uid
	default:
		meta.UID = fmt.Sprintf("00000000-0000-4000-8000-%012d", revision)
	}
	is := &record{key: k, uid: meta.UID, labels: meta.Labels, revision: revision, whole: r.encode(o, revision)}
	*o.typing() = typeMeta{}
	is.item = mustMarshal(o)
	s.objects[k] = stored{o, is}

	step := &change{revision: revision, key: k, is: is}
	if exists {
		step.was, step.gone = was.record, r.encode(was.object, revision)
	}
	s.append(step)
}

// delete removes an object and reports whether there was one.
func (s *store) delete(k key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	was, exists := s.objects[k]
	if !exists {
		return false
	}
	delete(s.objects, k)
	revision := s.newest.revision + 1
	s.append(&change{revision: revision, key: k, was: was.record, gone: k.resource.encode(was.object, revision)})
	return true
}

// append makes a change known to the watches. The caller holds mu.
func (s *store) append(step *change) {
	step.done = make(chan struct{})
	s.newest.next = step
	close(s.newest.done)
	s.newest = step
	if s.length++; s.length > historyLimit {
		s.forget()
	}
}

// forget makes the history begin one step later. The caller holds mu.
func (s *store) forget() {
	s.oldest = s.oldest.next
	s.length--
	s.forgotten[s.oldest.key.resource] = s.oldest.revision
}

// compact forgets the history: a resource can be resumed from its newest revision
// on.
func (s *store) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.oldest != s.newest {
		s.forget()
	}
}

func (s *store) get(k key) (*record, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.objects[k]
	return found.record, ok
}

// list is all records that f selects, ordered as a real server's lists are, and
// the moment they are from.
func (s *store) list(f filter) ([]*record, *change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []*record{}
	for _, o := range s.objects {
		if f.selects(o.record) {
			found = append(found, o.record)
		}
	}
	slices.SortFunc(found, func(a, b *record) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	return found, s.newest
}

// now is the newest moment.
func (s *store) now() *change {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// since is the moment of a revision, from which a watch of a resource goes on; nil
// if something that came after it is forgotten. A revision still to come is taken
// as the newest.
func (s *store) since(r *resource, revision int64) *change {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision < s.forgotten[r] {
		return nil
	}
	at := s.oldest
	for at != s.newest && at.revision < revision {
		at = at.next
	}
	return at
}

// revisions are the oldest that a watch can resume from, and the newest.
func (s *store) revisions() (oldest, newest int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.oldest.revision, s.newest.revision
}
