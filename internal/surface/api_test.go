package surface_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

var update = flag.Bool("update", false, "write what is there to testdata")

// The exported API is written down, so that a change of it is seen in review. After
// one that is meant: go test ./internal/surface -update
func TestTheExportedAPIIsWhatIsWrittenDown(t *testing.T) {
	var all bytes.Buffer
	for _, dir := range publicPackages(t) {
		fmt.Fprintf(&all, "package %s\n", dir)
		for _, line := range exported(t, dir) {
			fmt.Fprintf(&all, "\t%s\n", line)
		}
	}
	const path = "testdata/api.txt"
	if *update {
		if err := os.WriteFile(path, all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	was, is := strings.Split(string(written), "\n"), strings.Split(all.String(), "\n")
	for _, line := range was {
		if !slices.Contains(is, line) {
			t.Errorf("gone or changed: %s", strings.TrimSpace(line))
		}
	}
	for _, line := range is {
		if !slices.Contains(was, line) {
			t.Errorf("new: %s", strings.TrimSpace(line))
		}
	}
	if len(was) != len(is) {
		t.Errorf("%d lines, %d written down", len(is), len(was))
	}
}

// publicPackages returns the directories of the packages that users may import.
func publicPackages(t *testing.T) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "testdata" || name == "internal" || name == "examples") {
			return filepath.SkipDir
		}
		if dir := filepath.Dir(name); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(dirs)
	return dirs
}

// exported returns a line for each exported declaration of a package.
func exported(t *testing.T, dir string) (lines []string) {
	t.Helper()
	files := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.FileExports(file)
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				d.Body = nil
				if line := oneLine(t, files, d); !ofUnexported(d) {
					lines = append(lines, line)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					lines = append(lines, ofSpec(t, files, d.Tok, spec)...)
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// ofUnexported reports whether a method is of a type that nobody can name.
func ofUnexported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return false
	}
	of := d.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	if generic, ok := of.(*ast.IndexExpr); ok {
		of = generic.X
	}
	name, ok := of.(*ast.Ident)
	return ok && !name.IsExported()
}

// ofSpec returns a line for a declaration, and one for each field of a struct and
// each method of an interface.
func ofSpec(t *testing.T, files *token.FileSet, kind token.Token, spec ast.Spec) (lines []string) {
	t.Helper()
	switch s := spec.(type) {
	case *ast.ValueSpec:
		if kind == token.VAR {
			s.Values = nil // which are no promise
		}
		return []string{kind.String() + " " + oneLine(t, files, s)}
	case *ast.TypeSpec:
		var fields *ast.FieldList
		switch body := s.Type.(type) {
		case *ast.StructType:
			fields, body.Fields = body.Fields, &ast.FieldList{}
		case *ast.InterfaceType:
			fields, body.Methods = body.Methods, &ast.FieldList{}
		}
		lines = append(lines, "type "+oneLine(t, files, s))
		if fields == nil {
			return lines
		}
		for _, f := range fields.List {
			f.Tag = nil
			if len(f.Names) == 0 {
				lines = append(lines, "type "+s.Name.Name+": "+oneLine(t, files, f.Type))
			}
			for _, name := range f.Names {
				lines = append(lines, "type "+s.Name.Name+": "+name.Name+" "+oneLine(t, files, f.Type))
			}
		}
	}
	return lines
}

func oneLine(t *testing.T, files *token.FileSet, node any) string {
	t.Helper()
	var out bytes.Buffer
	if err := printer.Fprint(&out, files, node); err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(out.String()), " ")
}
