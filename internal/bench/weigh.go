package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// weigh builds the programs under clients and says how large they are, and how
// much of other people's code is in them. The first column is a gRPC client
// that takes its addresses from gRPC's own DNS resolver.
func weigh(ctx context.Context) (table, error) {
	t := table{title: "A minimal program, stripped, without cgo:", columns: []column{{name: "gRPC and DNS"}}}
	programs := []string{"plain"}
	for _, c := range watchClients {
		t.columns = append(t.columns, c.column)
		programs = append(programs, c.program)
	}
	size, packages, modules := row{what: "size, MB"}, row{what: "packages, without the standard library's"}, row{what: "modules"}
	for _, program := range programs {
		progress("watch: weighing %s", program)
		bytes, err := stripped(ctx, "./clients/"+program)
		if err != nil {
			return t, err
		}
		linked, err := goTool(ctx, "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./clients/"+program)
		if err != nil {
			return t, err
		}
		paths := make(map[string]int)
		for path := range strings.Lines(linked) {
			paths[strings.TrimSpace(path)]++
		}
		// The program itself counts for nothing.
		delete(paths, "github.com/sidestep-lb/sidestep/internal/bench")
		sum := 0
		for _, n := range paths {
			sum += n
		}
		size.cells = append(size.cells, []float64{float64(bytes) / 1e6})
		packages.cells = append(packages.cells, []float64{float64(sum)})
		modules.cells = append(modules.cells, []float64{float64(len(paths))})
	}
	t.rows = []row{size, packages, modules}
	return t, nil
}

func stripped(ctx context.Context, program string) (int64, error) {
	scratch, err := os.MkdirTemp("", "bench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(scratch)
	binary := filepath.Join(scratch, "program")
	if _, err := goTool(ctx, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, program); err != nil {
		return 0, err
	}
	info, err := os.Stat(binary)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func goTool(ctx context.Context, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", arguments...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(arguments, " "), err)
	}
	return string(out), nil
}
