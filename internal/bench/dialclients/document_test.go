//go:build linux

package dialclients

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// imports are those that the recipes leave out.
var imports = map[string]string{
	"context":      "context",
	"dialbalancer": "github.com/sidestep-lb/sidestep/balancer/dialbalancer",
	"driver":       "database/sql/driver",
	"nats":         "github.com/nats-io/nats.go",
	"net":          "net",
	"pgx":          "github.com/jackc/pgx/v5",
	"pgxpool":      "github.com/jackc/pgx/v5/pgxpool",
	"redis":        "github.com/redis/go-redis/v9",
	"rueidis":      "github.com/redis/rueidis",
	"stdlib":       "github.com/jackc/pgx/v5/stdlib",
	"tls":          "crypto/tls",
}

// given are the variables that a recipe may use without declaring them.
const given = "ctx context.Context, dialer *dialbalancer.Dialer, config *pgx.ConnConfig"

var (
	goBlocks = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	declared = regexp.MustCompile(`(?m)^(\w+)(?:, err)? := `)
)

// The recipes are compiled, each for itself. What they do the other tests of this
// package say.
func TestTheRecipesCompile(t *testing.T) {
	text, err := os.ReadFile("../../../docs/dial.md")
	if err != nil {
		t.Fatal(err)
	}
	recipes := goBlocks.FindAllStringSubmatch(string(text), -1)
	if len(recipes) < 6 {
		t.Fatalf("docs/dial.md has %d recipes", len(recipes))
	}
	scratch, overlay := t.TempDir(), make(map[string]string)
	args := []string{"build", "-buildvcs=false", "-o", os.DevNull, "-overlay", filepath.Join(scratch, "overlay.json")}
	for i, recipe := range recipes {
		file := filepath.Join(scratch, fmt.Sprintf("recipe%d.go", i))
		if err := os.WriteFile(file, []byte(program(recipe[1])), 0o644); err != nil {
			t.Fatal(err)
		}
		inTree, err := filepath.Abs(fmt.Sprintf("testdata/recipe%d/main.go", i))
		if err != nil {
			t.Fatal(err)
		}
		overlay[inTree] = file
		args = append(args, fmt.Sprintf("./testdata/recipe%d", i))
	}
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(scratch, "overlay.json"), list, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// program makes a program of a recipe.
func program(recipe string) string {
	var out strings.Builder
	out.WriteString("package main\n\nimport (\n")
	for name, path := range imports {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(recipe + given) {
			fmt.Fprintf(&out, "\t%s %q\n", name, path)
		}
	}
	fmt.Fprintf(&out, ")\n\nfunc main() {}\n\nfunc recipe(%s) error {\n{\n%s", given, recipe)
	for _, name := range declared.FindAllStringSubmatch(recipe, -1) {
		fmt.Fprintf(&out, "_ = %s\n", name[1])
	}
	if strings.Contains(recipe, ", err := ") {
		out.WriteString("_ = err\n")
	}
	return out.String() + "}\nreturn nil\n}\n"
}
