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
