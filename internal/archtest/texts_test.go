package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// sizeFaults finds source files nobody can keep in mind at once.
func sizeFaults(t *tree) []string {
	const most = 600
	var faults []string
	for _, p := range t.all() {
		for _, f := range p.sources() {
			if n := bytes.Count(t.texts[f.path], []byte("\n")); n > most {
				faults = append(faults, fmt.Sprintf("%s: %d lines, at most %d", f.path, n, most))
			}
		}
	}
	return faults
}

// avoided are words that docs/glossary.md replaces by one of its own, or that say nothing.
var avoided = []string{
	"upstream", "downstream", "backend", "cluster", "node", "instance", "selector", "strategy", "manager", "helper", "util",
}

// emptyNames say nothing as the name of a package or file, though they can be part of a good identifier.
var emptyNames = []string{"common", "misc", "types", "shared", "base", "lib"}

// wordFaults finds avoided words in exported names of the core and in names of Go files and directories.
func wordFaults(t *tree) []string {
	var faults []string
	for _, p := range t.all() {
		for _, f := range p.files {
			base := strings.TrimSuffix(path.Base(f.path), ".go")
			for _, w := range words(path.Dir(f.path) + "_" + base) {
				if slices.Contains(avoided, w) {
					faults = append(faults, fmt.Sprintf("%s: avoid %q in a name", f.path, w))
				}
			}
			if slices.Contains(emptyNames, base) || slices.Contains(emptyNames, path.Base(p.dir)) {
				faults = append(faults, fmt.Sprintf("%s: the name says nothing", f.path))
			}
		}
		if p.module != "." {
			continue
		}
		for _, f := range p.sources() {
			for _, id := range exportedNames(f.syntax) {
				for _, w := range words(id.Name) {
					if slices.Contains(avoided, w) {
						faults = append(faults, fmt.Sprintf("%s: avoid %q in %s", t.at(id.Pos()), w, id.Name))
					}
				}
			}
		}
	}
	return faults
}

// words splits a name at case changes and punctuation: "newHTTPClient_test" is new, http, client, test.
func words(name string) []string {
	var out []string
	var word []rune
	flush := func() {
		if len(word) > 0 {
			out = append(out, strings.TrimSuffix(strings.ToLower(string(word)), "s"))
		}
		word = nil
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			flush()
		}
		word = append(word, r)
	}
	flush()
	return out
}

// exportedNames returns the identifiers f exports: declarations, struct fields and interface methods.
func exportedNames(f *ast.File) []*ast.Ident {
	var out []*ast.Ident
	add := func(names ...*ast.Ident) {
		for _, n := range names {
			if n.IsExported() {
				out = append(out, n)
			}
		}
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			add(d.Name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					add(s.Names...)
				case *ast.TypeSpec:
					add(s.Name)
					ast.Inspect(s.Type, func(n ast.Node) bool {
						if field, ok := n.(*ast.Field); ok {
							add(field.Names...)
						}
						return true
					})
				}
			}
		}
	}
	return out
}

// Spelt in parts, so that this file does not hold what it looks for.
var (
	unwanted   = []string{"TO" + "DO", "FIX" + "ME", "X" + "XX", "/wo" + "rk/", "/tm" + "p/", "/ho" + "me/", "/ro" + "ot/"}
	unfinished = regexp.MustCompile(`\b(` + strings.Join(unwanted[:3], "|") + `)\b`)
	ofMachine  = regexp.MustCompile(`(?:^|[^\w.~-])(` + strings.Join(unwanted[3:], "|") + `)`)
)

// textFaults finds unfinished work and paths of one machine in any text.
func textFaults(t *tree) []string {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(t.texts)) {
		if path.Base(name) == "go.sum" {
			continue
		}
		// Few texts are worth an expression for each line, which takes long.
		if !slices.ContainsFunc(unwanted, func(s string) bool { return bytes.Contains(t.texts[name], []byte(s)) }) {
			continue
		}
		n := 0
		for line := range bytes.Lines(t.texts[name]) {
			n++
			if m := unfinished.Find(line); m != nil {
				faults = append(faults, fmt.Sprintf("%s:%d: %s", name, n, m))
			}
			if m := ofMachine.FindSubmatch(line); m != nil {
				faults = append(faults, fmt.Sprintf("%s:%d: path of a machine: %s", name, n, m[1]))
			}
		}
	}
	return faults
}

func TestFileSizes(t *testing.T) { check(t, sizeFaults) }

func TestWords(t *testing.T) { check(t, wordFaults) }

func TestTexts(t *testing.T) { check(t, textFaults) }

func TestFileSizesFinds(t *testing.T) {
	long := "package p\n" + strings.Repeat("// line\n", 600)
	planted(t, sizeFaults, map[string]string{
		"p/long.go":      long,
		"p/long_test.go": long,
		"p/fits.go":      "package p\n" + strings.Repeat("// line\n", 599),
	}, "p/long.go: 601 lines")
}

func TestWordsFinds(t *testing.T) {
	planted(t, wordFaults, map[string]string{
		"p/p.go": `package p

type ConnManager struct {
	Backends []string
	upstream string
}

type Watcher interface{ OnCluster() }

func IsUtilised() {}
func (ConnManager) HTTPHelper() {}
func nodeOf() {}
`,
		"p/dial_helper.go":   "package p\n",
		"internal/util/u.go": "package util\n",
		"q/types.go":         "package q\n",
	},
		`avoid "manager" in ConnManager`, `avoid "backend" in Backends`, `avoid "cluster" in OnCluster`,
		`avoid "helper" in HTTPHelper`, `p/dial_helper.go: avoid "helper"`, `internal/util/u.go: avoid "util"`,
		"q/types.go: the name says nothing",
	)
}

func TestTextsFinds(t *testing.T) {
	todo, machine := "TO"+"DO", "/tm"+"p/"
	planted(t, textFaults, map[string]string{
		"README.md":     "Fine.\n" + todo + ": write\n",
		"p/p.go":        "package p // " + machine + "x\n",
		"docs/a.md":     "a" + machine + "b, " + todo + "S are no fault; www.example.com" + machine + "x neither\n",
		"testdata/c.sh": "cd " + machine + "dir\n",
		"go.sum":        todo + "\n",
	}, "README.md:2: "+todo, "p/p.go:1: path of a machine", "testdata/c.sh:1: path")
}
