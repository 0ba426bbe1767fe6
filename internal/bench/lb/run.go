package lb

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"time"
)

// Flag is the hidden argument, followed by a Job, of a process that measures a
// client.
const Flag = "-measure"

// A Job says what to measure.
type Job struct {
	Client   string
	Backends int
	CPUs     []int `json:",omitempty"` // of picks; none to measure updates
}

// A Result has what was measured.
type Result struct {
	Picks   []PickCost  `json:",omitempty"` // for each number of CPUs
	Updates *UpdateCost `json:",omitempty"`
}

// Run does the job in text and writes the result.
func Run(text string, out io.Writer) error {
	var j Job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	r, err := j.run()
	if err != nil {
		return fmt.Errorf("%s with %d backends: %w", j.Client, j.Backends, err)
	}
	return json.NewEncoder(out).Encode(r)
}

func (j Job) run() (r Result, err error) {
	c, err := Named(j.Client)
	if err != nil {
		return r, err
	}
	if len(j.CPUs) == 0 {
		r.Updates, err = updateCosts(c, j.Backends)
		return r, err
	}
	r.Picks, err = pickCosts(c, j.Backends, j.CPUs)
	return r, err
}

// A usage is what this process has used so far.
type usage struct {
	cpu     time.Duration
	mallocs uint64
}

func usageNow() usage {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{CPU(), m.Mallocs}
}

// CPU returns the CPU time of this process, user and system.
func CPU() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(fmt.Sprintf("getrusage: %v", err))
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
