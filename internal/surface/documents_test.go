package surface_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// imports are those that snippets leave out.
var imports = map[string]string{
	"balancer":       "github.com/sidestep-lb/sidestep/balancer",
	"codes":          "google.golang.org/grpc/codes",
	"context":        "context",
	"discovery":      "github.com/sidestep-lb/sidestep/discovery",
	"dns":            "github.com/sidestep-lb/sidestep/discovery/dns",
	"grpc":           "google.golang.org/grpc",
	"grpc_health_v1": "google.golang.org/grpc/health/grpc_health_v1",
	"grpcbalancer":   "github.com/sidestep-lb/sidestep/balancer/grpcbalancer",
	"http":           "net/http",
	"httpbalancer":   "github.com/sidestep-lb/sidestep/balancer/httpbalancer",
	"insecure":       "google.golang.org/grpc/credentials/insecure",
	"kube":           "github.com/sidestep-lb/sidestep/discovery/kube",
	"kubetest":       "github.com/sidestep-lb/sidestep/discovery/kube/kubetest",
	"livepage":       "github.com/sidestep-lb/sidestep/balancer/livepage",
	"otel":           "go.opentelemetry.io/otel",
	"resolver":       "github.com/sidestep-lb/sidestep/resolver",
	"telemetry":      "github.com/sidestep-lb/sidestep/balancer/telemetry",
	"time":           "time",
}

// given are the variables that a snippet may use without declaring them, and what
// they need.
const given = "ctx context.Context, conn *grpc.ClientConn, req *http.Request, transport *httpbalancer.Transport"

var blocks = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// documents returns README.md and the files in docs, by their path from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for _, path := range append(paths, filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md"), filepath.Join(root, "CHANGELOG.md")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		texts[rel] = string(text)
	}
	return texts
}

// The code of the documents is compiled, each block for itself.
func TestTheCodeOfTheDocumentsCompiles(t *testing.T) {
	overlay := make(map[string]string)
	var packages []string
	scratch := t.TempDir()
	for document, text := range documents(t) {
		if document == filepath.Join("docs", "dial.md") {
			continue // its clients are of another module, internal/bench, which compiles it
		}
		for _, block := range blocks.FindAllStringSubmatch(text, -1) {
			if block[1] != "go" {
				continue
			}
			name := fmt.Sprintf("block%d", len(packages))
			source := filepath.Join(scratch, name+".go")
			if err := os.WriteFile(source, []byte(program(t, block[2])), 0o644); err != nil {
				t.Fatal(err)
			}
			inTree, err := filepath.Abs(filepath.Join("testdata", name, "main.go"))
			if err != nil {
				t.Fatal(err)
			}
			overlay[inTree] = source
			packages = append(packages, "./internal/surface/testdata/"+name)
		}
	}
	if len(packages) < 8 {
		t.Fatalf("the documents have %d blocks of Go", len(packages))
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(scratch, "overlay.json")
	if err := os.WriteFile(list, text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append([]string{"build", "-buildvcs=false", "-overlay", list, "-o", os.DevNull}, packages...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// program makes a program of a block, which is one already or some statements.
func program(t *testing.T, block string) string {
	t.Helper()
	if strings.Contains(block, "\npackage main\n") || strings.HasPrefix(block, "package main\n") {
		return block
	}
	body := "package main\n\nfunc snippet(" + given + ") {\n{\n" + block + "\n}\n}\n"
	file, err := parser.ParseFile(token.NewFileSet(), "", body, 0)
	if err != nil {
		t.Fatalf("%v in\n%s", err, block)
	}
	used := []string{"context", "grpc", "http", "httpbalancer"} // of those that are given
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && imports[x.Name] != "" {
				used = append(used, x.Name)
			}
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if name, ok := left.(*ast.Ident); ok && n.Tok == token.DEFINE && name.Name != "_" {
					declared = append(declared, name.Name)
				}
			}
		}
		return true
	})
	var out strings.Builder
	out.WriteString("package main\n\nimport (\n")
	slices.Sort(used)
	for _, name := range slices.Compact(used) {
		fmt.Fprintf(&out, "\t%q\n", imports[name])
	}
	fmt.Fprintf(&out, ")\n\nfunc main() {}\n\nfunc snippet(%s) {\n{\n%s\n", given, block)
	for _, name := range declared {
		fmt.Fprintf(&out, "\t_ = %s\n", name)
	}
	return out.String() + "}\n}\n"
}

// The README's first programs are the examples, to the letter.
func TestTheREADMEShowsTheExamples(t *testing.T) {
	readme := documents(t)["README.md"]
	for _, example := range []string{"grpc", "http"} {
		code, err := os.ReadFile(filepath.Join(root, "examples", example, "main.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(readme, "```go\n"+string(code)+"```") {
			t.Errorf("the README does not show examples/%s/main.go as it is", example)
		}
	}
	if lines := strings.Count(readme, "\n"); lines > 170 {
		t.Errorf("the README has %d lines: it is to fit three screens, which are 170", lines)
	}
}

var (
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noAnchor = regexp.MustCompile("[^a-z0-9 _-]")
)

// anchor is what a heading is called in links.
func anchor(heading string) string {
	return strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

func TestTheLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	texts := documents(t)
	n := 0
	for name, text := range texts {
		for _, link := range links.FindAllStringSubmatch(text, -1) {
			target, fragment, _ := strings.Cut(link[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			n++
			path := name
			if target != "" {
				path = filepath.Join(filepath.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s: %s leads nowhere", name, link[1])
				continue
			}
			found := fragment == ""
			for _, heading := range headings.FindAllStringSubmatch(texts[path], -1) {
				found = found || anchor(heading[1]) == fragment
			}
			if !found {
				t.Errorf("%s: %s: there is no such heading", name, link[1])
			}
		}
	}
	if n < 20 {
		t.Errorf("%d links were found", n)
	}
}
