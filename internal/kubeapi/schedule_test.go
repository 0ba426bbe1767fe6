package kubeapi

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// schedules is how many are tried. SIDESTEP_SCHEDULES, a number, is for more.
const schedules = 300

func TestTheEndIsRightWhateverHappensOnTheWay(t *testing.T) {
	n := schedules
	if text := os.Getenv("SIDESTEP_SCHEDULES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for seed := range n {
		synctest.Test(t, func(t *testing.T) { runSchedule(t, uint64(seed)) })
		if t.Failed() {
			t.Fatalf("in schedule %d", seed)
		}
	}
}

// runSchedule lets everything happen to a server that a ListWatch reads. The
// faults depend on the seed alone, but not the pauses of the ListWatch.
func runSchedule(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	server := newFlaky(rand.New(rand.NewPCG(seed, 1)))
	client, err := NewClient(Config{Host: "http://api", HTTPClient: &http.Client{Transport: server}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	view := &mirror{t: t, server: server, objects: make(map[string]string)}
	running.Go(func() {
		lw := ListWatch[*EndpointSlice]{Client: client, MaxEventBytes: 4096}
		lw.Run(ctx, view)
	})

	for range 5 + random.IntN(60) {
		server.do(func() { happen(server, random) })
		time.Sleep(time.Duration(random.ExpFloat64() * float64([...]time.Duration{0, time.Millisecond, time.Second, time.Minute}[random.IntN(4)]))) // of virtual time
	}
	server.do(func() { server.down, server.stalled, server.failures, server.incomplete = false, false, 0, 0 })
	time.Sleep(10 * time.Minute) // of virtual time
	server.do(server.change)
	time.Sleep(time.Second) // of virtual time

	if got, want := view.text(), server.text(); got != want {
		t.Errorf("the state is %q, want %q", got, want)
	}
	if view.failing {
		t.Error("the end is a failure")
	}
}

// happen lets one thing happen, as a rule a change.
func happen(f *flaky, random *rand.Rand) {
	switch random.IntN(24) {
	default:
		f.change()
	case 0:
		f.end(io.EOF)
	case 1:
		f.end(io.ErrUnexpectedEOF)
	case 2:
		event := eventOf(Modified, "a", "half")
		f.send(event[:random.IntN(len(event)-1)])
		f.end(io.ErrUnexpectedEOF)
	case 3:
		f.send("\x00{]\n")
	case 4:
		f.send(f.now().event) // a duplicate
	case 5:
		f.send(fmt.Sprintf(`{"type":"BOOKMARK","object":%s}`, object("", f.now().version)))
	case 6:
		f.send(`{"type":"RENAMED","object":{"kind":"Poem"}}`)
	case 7:
		code := []int{410, 500}[random.IntN(2)]
		f.send(fmt.Sprintf(`{"type":"ERROR","object":%s}`, statusOf(code, "", "sorry")))
	case 8:
		f.forget()
	case 9:
		for w := range f.watches {
			w.dead = true
		}
		clear(f.watches)
	case 10:
		f.stalled = !f.stalled
	case 11: // an outage, and its end
		f.down = !f.down
		f.end(io.ErrUnexpectedEOF)
	case 12: // a restart
		f.end([]error{io.EOF, io.ErrUnexpectedEOF}[random.IntN(2)])
		f.forget()
		f.stalled = false
	case 13:
		f.failures = random.IntN(5)
	case 14:
		f.incomplete = random.IntN(5)
	case 16:
		f.setBack()
	case 15: // an upgrade, or a downgrade
		f.listing = listing(random.IntN(3))
	}
}

// A mirror is a Handler that rebuilds the state of a server.
type mirror struct {
	t       *testing.T
	server  *flaky
	objects map[string]string
	failing bool
	mu      sync.Mutex
}

func (m *mirror) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return text(m.objects)
}

func (m *mirror) Replace(slices []*EndpointSlice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = false
	clear(m.objects)
	for _, s := range slices {
		m.objects[s.Name] = s.ResourceVersion
	}
	if !m.server.was(text(m.objects)) {
		m.t.Errorf("a list of what never was: %s", text(m.objects))
	}
}

func (m *mirror) Apply(kind string, slice *EndpointSlice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if kind == Deleted {
		delete(m.objects, slice.Name)
	} else {
		m.objects[slice.Name] = slice.ResourceVersion
	}
}

func (m *mirror) Failed(error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = true
}

func (m *mirror) Healthy() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = false
}
