// Command grpctests runs the end-to-end tests of gRPC's own module (its folder
// test) with round_robin replaced by sidestep, and compares the outcome with what
// is expected:
//
//	go -C internal/bench run ./grpctests [-version v1.85.0] [-run REGEXP]
//
// It fetches the module with the go command, and leaves nothing behind. It exits 1
// if a test fails that is not in exceptions.go, or one passes that is.
package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const module = "google.golang.org/grpc"

// standIn is the file that makes the tests use sidestep.
//
//go:embed stand_in.go.txt
var standIn []byte

func main() {
	version := flag.String("version", "v1.84.0", "of gRPC")
	run := flag.String("run", "", "the tests to run, as for go test")
	flag.Parse()
	ok, err := check(*version, *run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpctests:", err)
	}
	if !ok {
		os.Exit(1)
	}
}

// check runs the tests and reports whether all went as expected.
func check(version, run string) (bool, error) {
	dir, err := os.MkdirTemp("", "grpctests-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if err := prepare(dir, version); err != nil {
		return false, err
	}
	outcomes, err := test(dir, run)
	if err != nil {
		return false, err
	}
	if err := retest(dir, outcomes); err != nil {
		return false, err
	}
	count := make(map[string]int)
	ok := true
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		outcome := outcomes[name]
		count[outcome.action]++
		reason, excepted := exceptions[name]
		switch {
		case outcome.action == "fail" && excepted:
			fmt.Printf("does not apply  %s: %s\n", name, reason)
		case outcome.action == "fail":
			ok = false
			fmt.Printf("FAIL            %s\n%s", name, outcome.output)
		case outcome.action == "pass" && excepted:
			ok = false
			fmt.Printf("UNEXPECTED      %s passes, and is said to fail: %s\n", name, reason)
		}
	}
	fmt.Printf("%s: %d passed, %d failed, %d skipped by gRPC\n", version, count["pass"], count["fail"], count["skip"])
	return ok && count["pass"] > 0, nil
}

// retest runs what has failed and should not once more: some of gRPC's tests go by
// the clock, and fail on a busy machine whatever the policy.
func retest(dir string, outcomes map[string]outcome) error {
	for name, o := range outcomes {
		if _, excepted := exceptions[name]; o.action != "fail" || excepted {
			continue
		}
		parts := strings.Split(name, "/")
		for i := range parts {
			parts[i] = "^" + regexp.QuoteMeta(parts[i]) + "$"
		}
		again, err := test(dir, strings.Join(parts, "/"))
		if err != nil {
			return err
		}
		fmt.Printf("once more       %s: %s\n", name, again[name].action)
		outcomes[name] = again[name]
	}
	return nil
}

// prepare makes a copy of the module in which sidestep stands in for round_robin.
func prepare(dir, version string) error {
	here, err := output("", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/sidestep-lb/sidestep")
	if err != nil {
		return err
	}
	sidestep, err := filepath.Abs(here)
	if err != nil {
		return err
	}
	text, err := output("", "go", "mod", "download", "-json", module+"@"+version)
	if err != nil {
		return err
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal([]byte(text), &downloaded); err != nil {
		return fmt.Errorf("read what go mod download says: %w", err)
	}
	if err := os.CopyFS(dir, writable{os.DirFS(downloaded.Dir)}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "test", "sidestep_stands_in_test.go"), standIn, 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"mod", "edit", "-require=github.com/sidestep-lb/sidestep@v0.0.0", "-replace=github.com/sidestep-lb/sidestep=" + sidestep},
		{"mod", "tidy"},
	} {
		if _, err := output(dir, "go", args...); err != nil {
			return err
		}
	}
	return nil
}

// An outcome is that of one test.
type outcome struct {
	action string // pass, fail or skip
	output string
}

// test runs the tests. All are subtests of one, which is left out.
func test(dir, run string) (map[string]outcome, error) {
	cmd := exec.Command("go", "test", "-json", "-count=1", "-vet=off", "-timeout=20m", "-run", run, "./test")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	outcomes := make(map[string]outcome)
	lines := bufio.NewScanner(bytes.NewReader(stdout))
	lines.Buffer(nil, 10<<20)
	for lines.Scan() {
		var event struct{ Action, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil || event.Test == "" || event.Test == "Test" {
			continue
		}
		o := outcomes[event.Test]
		switch event.Action {
		case "output":
			if !strings.Contains(event.Output, "tlogger.go") {
				o.output += event.Output
			}
		case "pass", "fail", "skip":
			o.action = event.Action
		}
		outcomes[event.Test] = o
	}
	if len(outcomes) == 0 {
		return nil, fmt.Errorf("no test ran: %s%s", stderr.Bytes(), stdout)
	}
	return outcomes, lines.Err()
}

func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if dir != "" {
		cmd.Env = append(os.Environ(), "GOWORK=off")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}
