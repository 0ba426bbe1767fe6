package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// A process is a child, as its parent sees it.
type process struct {
	job       job
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *json.Decoder
	published []publication // all so far
}

// spawn starts a child and returns what it used before it began its job. The
// child ends with ctx at the latest.
func spawn(ctx context.Context, j job) (*process, usage, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, usage{}, err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return nil, usage{}, err
	}
	cmd := exec.CommandContext(ctx, self, childFlag, string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, usage{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, usage{}, err
	}
	if err := cmd.Start(); err != nil {
		return nil, usage{}, err
	}
	p := &process{job: j, cmd: cmd, in: in, out: json.NewDecoder(out)}
	before, err := p.usage()
	if err != nil {
		_ = p.end()
	}
	return p, before, err
}

// end tells the child to end, and waits for that.
func (p *process) end() error {
	p.in.Close()
	for { // or the child might wait for somebody to listen
		if _, err := p.read(); err != nil {
			return p.cmd.Wait()
		}
	}
}

// ask asks for askCPU or askMemory.
func (p *process) ask(what string) (usage, error) {
	if _, err := fmt.Fprintln(p.in, what); err != nil {
		return usage{}, err
	}
	return p.usage()
}

func (p *process) usage() (usage, error) {
	for {
		m, err := p.read()
		if err != nil {
			return usage{}, fmt.Errorf("waiting for the usage of %s: %w", p.job.Client, err)
		}
		if m.Usage != nil {
			return *m.Usage, nil
		}
	}
}

// until waits for a publication that is wanted and returns it.
func (p *process) until(wanted func(publication) bool) (publication, error) {
	for {
		m, err := p.read()
		if err != nil {
			return publication{}, fmt.Errorf("waiting for %s to publish: %w", p.job.Client, err)
		}
		if m.Publication != nil && wanted(*m.Publication) {
			return *m.Publication, nil
		}
	}
}

// untilAll waits until so many addresses have been published, at once or in
// several publications, and returns the last of them.
func (p *process) untilAll(addresses int) (publication, error) {
	sum := 0
	return p.until(func(last publication) bool {
		sum += last.Usable
		return sum >= addresses
	})
}

func (p *process) read() (message, error) {
	var m message
	err := p.out.Decode(&m)
	if m.Publication != nil {
		p.published = append(p.published, *m.Publication)
	}
	return m, err
}
