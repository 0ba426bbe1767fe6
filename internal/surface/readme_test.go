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

// imports are those that the README leaves out.
var imports = map[string]string{
	"balancer":     "github.com/sidestep-lb/sidestep/balancer",
	"context":      "context",
	"discovery":    "github.com/sidestep-lb/sidestep/discovery",
	"dns":          "github.com/sidestep-lb/sidestep/discovery/dns",
	"grpc":         "google.golang.org/grpc",
	"grpcbalancer": "github.com/sidestep-lb/sidestep/balancer/grpcbalancer",
	"http":         "net/http",
	"httpbalancer": "github.com/sidestep-lb/sidestep/balancer/httpbalancer",
	"insecure":     "google.golang.org/grpc/credentials/insecure",
	"kube":         "github.com/sidestep-lb/sidestep/discovery/kube",
	"kubetest":     "github.com/sidestep-lb/sidestep/discovery/kube/kubetest",
	"livepage":     "github.com/sidestep-lb/sidestep/balancer/livepage",
	"otel":         "go.opentelemetry.io/otel",
	"resolver":     "github.com/sidestep-lb/sidestep/resolver",
	"telemetry":    "github.com/sidestep-lb/sidestep/balancer/telemetry",
	"time":         "time",
}

var blocks = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// The code of the README and of docs is compiled, each block for itself.
func TestTheCodeOfTheREADMEAndTheDocsCompiles(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var texts strings.Builder
	for _, file := range append(files, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts.Write(text)
	}
	overlay := make(map[string]string)
	var packages []string
	scratch := t.TempDir()
	for i, block := range blocks.FindAllStringSubmatch(texts.String(), -1) {
		if block[1] != "go" {
			continue
		}
		name := fmt.Sprintf("block%d", i)
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
	if len(packages) < 3 {
		t.Fatalf("the README and the docs have %d blocks of Go", len(packages))
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

// program makes a program of statements.
func program(t *testing.T, block string) string {
	t.Helper()
	body := "package main\n\nfunc main() {\n" + block + "\n}\n"
	file, err := parser.ParseFile(token.NewFileSet(), "", body, 0)
	if err != nil {
		t.Fatalf("%v in\n%s", err, block)
	}
	var used, declared []string
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
	fmt.Fprintf(&out, ")\n\nfunc main() {\n%s\n", block)
	for _, name := range declared {
		fmt.Fprintf(&out, "\t_ = %s\n", name)
	}
	return out.String() + "}\n"
}
