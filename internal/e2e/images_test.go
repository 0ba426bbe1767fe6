package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// programs are built and loaded into the cluster: name and package.
var programs = map[string]string{
	"server":       "../../examples/server",
	"client":       "../../examples/client",
	"first":        "first",
	"kuberesolver": "../bench/load/kuberesolver", // of another module, as are those that follow
	"goredis":      "../bench/load/goredis",
	"resp":         "../bench/load/resp",
}

func imageOf(program string) string { return "sidestep.local/" + program + ":dev" }

// loadImages builds the programs and loads them into the cluster.
func loadImages() error {
	scratch, err := os.MkdirTemp("", "sidestep-e2e")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	for program, directory := range programs {
		binary := filepath.Join(scratch, program)
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
		build.Dir = directory
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
		if _, err := run(build); err != nil {
			return err
		}
		if err := loadImage(program, binary); err != nil {
			return err
		}
	}
	return nil
}

// loadImage loads files as the image of a program, the first its entry point.
func loadImage(program string, files ...string) error {
	_, err := command(os.Getenv("SIDESTEP_E2E_LOAD_IMAGE"), append([]string{imageOf(program)}, files...)...)
	return err
}

// command runs a command of the environment, as a shell reads it, and returns
// what it prints.
func command(line string, args ...string) ([]byte, error) {
	return run(exec.Command("sh", append([]string{"-c", line + ` "$@"`, "sh"}, args...)...))
}

// run returns what a command prints, or an error that holds what it says.
func run(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}
