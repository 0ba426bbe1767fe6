package surface_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sayings are what licences can be told by.
var sayings = map[string]string{
	"Apache-2.0":   "Apache License",
	"BSD-3-Clause": "Neither the name of",
	"MIT":          "Permission is hereby granted, free of charge",
}

var licenceRow = regexp.MustCompile(`(?m)^\| ([a-z0-9.]+/[^ |]+) \| ([A-Za-z0-9.-]+) \|`)

// CONTRIBUTING lists the licence of each module that is linked, by users or by
// tests.
func TestTheLicencesOfAllThatIsLinkedAreListed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]string)
	for _, row := range licenceRow.FindAllStringSubmatch(string(text), -1) {
		listed[row[1]] = row[2]
	}
	cmd := exec.Command("go", "list", "-deps", "-test", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		if module, dir, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			linked[module] = dir
		}
	}
	for _, module := range slices.Sorted(maps.Keys(linked)) {
		licence := licenceOf(t, linked[module])
		if listed[module] != licence {
			t.Errorf("%s has licence %s, listed is %q", module, licence, listed[module])
		}
		delete(listed, module)
	}
	for module := range listed {
		t.Errorf("%s is listed and not linked", module)
	}
}

func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "LICEN[SC]E*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, licence := range slices.Sorted(maps.Keys(sayings)) {
			if strings.Contains(strings.Join(strings.Fields(string(text)), " "), sayings[licence]) {
				return licence
			}
		}
	}
	return "unknown"
}
