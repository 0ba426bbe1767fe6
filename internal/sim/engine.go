package main

import "time"

// An engine runs events in virtual time. Events of the same moment run in the
// order in which they were planned, so a run depends on nothing but its seed.
type engine struct {
	now    int64 // virtual nanoseconds since the start
	events eventHeap
	count  uint64 // of events planned so far
}

// at plans do for the moment t, or for now if t has passed.
func (e *engine) at(t int64, do func()) {
	e.count++
	e.events.push(event{max(t, e.now), e.count, do})
}

// after plans do.
func (e *engine) after(d time.Duration, do func()) { e.at(e.now+int64(d), do) }

// step runs the next event, unless there is none or it is after end.
func (e *engine) step(end int64) bool {
	if len(e.events) == 0 || e.events[0].at > end {
		return false
	}
	next := e.events.pop()
	e.now = next.at
	next.do()
	return true
}

type event struct {
	at    int64
	order uint64
	do    func()
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.order < other.order
}

// An eventHeap is a binary heap, the earliest event first. It is no
// container/heap, which would allocate for each event.
type eventHeap []event

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	all := *h
	i := len(all) - 1
	for i > 0 && e.before(&all[(i-1)/2]) {
		all[i] = all[(i-1)/2]
		i = (i - 1) / 2
	}
	all[i] = e
}

func (h *eventHeap) pop() event {
	all := *h
	first, last := all[0], all[len(all)-1]
	all[len(all)-1] = event{} // lets go of what it refers to
	all = all[:len(all)-1]
	*h = all
	i := 0
	for child := 1; child < len(all); child = 2*i + 1 {
		if child+1 < len(all) && all[child+1].before(&all[child]) {
			child++
		}
		if !all[child].before(&last) {
			break
		}
		all[i] = all[child]
		i = child
	}
	if len(all) > 0 {
		all[i] = last
	}
	return first
}
