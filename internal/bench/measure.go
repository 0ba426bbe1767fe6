package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

// A lab runs the processes that measure policies.
type lab struct {
	self    string
	scratch string // where the programs are that are not this one
}

func openLab() (*lab, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "bench")
	return &lab{self, scratch}, err
}

func (l *lab) close() { os.RemoveAll(l.scratch) }

// program returns the path of the program that has the client.
func (l *lab) program(ctx context.Context, c lb.Client) (string, error) {
	if c.Program == "" {
		return l.self, nil
	}
	path := filepath.Join(l.scratch, filepath.Base(c.Program))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	progress("building %s", c.Program)
	_, err := goTool(ctx, "build", "-ldflags=-s -w", "-o", path, c.Program)
	return path, err
}

// measure does the job in a process of its own.
func (l *lab) measure(ctx context.Context, c lb.Client, j lb.Job) (lb.Result, error) {
	var r lb.Result
	program, err := l.program(ctx, c)
	if err != nil {
		return r, err
	}
	j.Client = c.Name
	text, err := json.Marshal(j)
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, program, lb.Flag, string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, fmt.Errorf("%s: %w", c.Name, err)
	}
	return r, json.Unmarshal(out, &r)
}
