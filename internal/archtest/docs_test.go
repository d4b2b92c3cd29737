package archtest

import (
	"fmt"
	"go/ast"
	"go/doc"
	"path"
	"slices"
	"testing"
)

// docFaults demands of every public package a doc.go that says what it is for, and an Example the go command
// checks: one with an Output comment.
func docFaults(t *tree) []string {
	var faults []string
	for _, p := range t.public() {
		documented := slices.ContainsFunc(p.sources(), func(f *file) bool {
			return path.Base(f.path) == "doc.go" && f.syntax.Doc != nil
		})
		if !documented {
			faults = append(faults, fmt.Sprintf("%s: no doc.go with a package comment", p.dir))
		}
		var tests []*ast.File
		for _, f := range p.tests() {
			tests = append(tests, f.syntax)
		}
		checked := slices.ContainsFunc(doc.Examples(tests...), func(e *doc.Example) bool {
			return e.Output != "" || e.EmptyOutput
		})
		if !checked {
			faults = append(faults, fmt.Sprintf("%s: no Example with an Output comment", p.dir))
		}
	}
	return faults
}

// commentFaults demands a comment on every exported declaration of a public package. In a group of constants or
// variables the group's comment serves.
func commentFaults(t *tree) []string {
	var faults []string
	for _, p := range t.public() {
		for _, f := range p.sources() {
			bare := func(name *ast.Ident, docs ...*ast.CommentGroup) {
				documented := slices.ContainsFunc(docs, func(d *ast.CommentGroup) bool { return d != nil })
				if name.IsExported() && !documented {
					faults = append(faults, fmt.Sprintf("%s: %s has no comment", t.at(name.Pos()), name))
				}
			}
			for _, decl := range f.syntax.Decls {
				switch d := decl.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil || ast.IsExported(baseName(d.Recv.List[0].Type)) {
						bare(d.Name, d.Doc)
					}
				case *ast.GenDecl:
					for _, spec := range d.Specs {
						switch s := spec.(type) {
						case *ast.TypeSpec:
							bare(s.Name, s.Doc, d.Doc)
						case *ast.ValueSpec:
							for _, name := range s.Names {
								bare(name, s.Doc, s.Comment, d.Doc)
							}
						}
					}
				}
			}
		}
	}
	return faults
}

func TestComments(t *testing.T) { check(t, commentFaults) }

func TestCommentsFinds(t *testing.T) {
	planted(t, commentFaults, map[string]string{"p/p.go": `package p

// Kinds of things.
const (
	A = iota
	B
)

const (
	C = iota // C is said here.
	D
)

type Bare struct{}

// Said is documented.
type Said struct{}

func (Said) Method() {}

// Other is documented.
func (Said) Other() {}

func (hidden) Method() {}

type hidden struct{}

func New() {}
`}, ": D has", ": Bare has", ": Method has", ": New has")
}

func TestDocs(t *testing.T) { check(t, docFaults) }

func TestDocsFinds(t *testing.T) {
	const example = "package p_test\nimport \"fmt\"\nfunc Example() {\n\tfmt.Println(1)\n\t// Output: 1\n}\n"
	const unchecked = "package p_test\nimport \"fmt\"\nfunc Example() {\n\tfmt.Println(1)\n}\n"
	planted(t, docFaults, map[string]string{
		"good/doc.go":             "// Package p is good.\npackage p\n",
		"good/example_test.go":    example,
		"bare/bare.go":            "// Package p has its comment elsewhere.\npackage p\n",
		"bare/example_test.go":    example,
		"mute/doc.go":             "package p\n",
		"mute/example_test.go":    unchecked,
		"internal/x/x.go":         "package x\n",
		"examples/p/main.go":      "package main\n",
		"tools/go.mod":            "module x\n",
		"tools/undocumented/p.go": "package p\n",
	}, "bare: no doc.go", "mute: no doc.go", "mute: no Example")
}
