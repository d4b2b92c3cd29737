package archtest

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

const module = "github.com/tulle-mesh/tulle"

var update = flag.Bool("update", false, "write the golden files anew")

// tree is the source of a repository, parsed: every Go file of every module in it, and the bytes of every text.
type tree struct {
	fset     *token.FileSet
	packages map[string]*pkg   // by slash-separated directory, "." for the root
	nested   []string          // directories of the modules below the root
	texts    map[string][]byte // by path, Go files among them
}

type pkg struct {
	dir    string
	module string // "." or the directory of the nested module it belongs to
	files  []*file
}

type file struct {
	path   string
	test   bool
	syntax *ast.File
}

// load parses fsys. A file that does not parse is an error: a check must not pass for what it could not read.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{fset: token.NewFileSet(), packages: map[string]*pkg{}, texts: map[string][]byte{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", "bin":
				return fs.SkipDir
			}
			return nil
		}
		switch path.Ext(name) {
		case ".test", ".out", ".prof", ".git": // .git is a file in a work tree beside the clone
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		if bytes.IndexByte(src, 0) < 0 {
			t.texts[name] = src
		}
		return t.add(name, src)
	})
	if err != nil {
		return nil, err
	}
	for _, p := range t.packages {
		p.module = t.moduleOf(p.dir)
	}
	return t, nil
}

func (t *tree) add(name string, src []byte) error {
	dir := path.Dir(name)
	if slices.Contains(strings.Split(dir, "/"), "testdata") {
		return nil
	}
	if path.Base(name) == "go.mod" && dir != "." {
		t.nested = append(t.nested, dir)
	}
	if path.Ext(name) != ".go" {
		return nil
	}
	syntax, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	p := t.packages[dir]
	if p == nil {
		p = &pkg{dir: dir}
		t.packages[dir] = p
	}
	p.files = append(p.files, &file{path: name, test: strings.HasSuffix(name, "_test.go"), syntax: syntax})
	return nil
}

// moduleOf returns the directory of the innermost module that holds dir.
func (t *tree) moduleOf(dir string) string {
	for ; dir != "."; dir = path.Dir(dir) {
		if slices.Contains(t.nested, dir) {
			return dir
		}
	}
	return "."
}

// all returns the packages of every module in the order of their directories.
func (t *tree) all() []*pkg {
	var out []*pkg
	for _, dir := range slices.Sorted(maps.Keys(t.packages)) {
		out = append(out, t.packages[dir])
	}
	return out
}

// core returns the packages of the module at the root.
func (t *tree) core() []*pkg {
	return slices.DeleteFunc(t.all(), func(p *pkg) bool { return p.module != "." })
}

// public returns the packages of the core that other modules can import.
func (t *tree) public() []*pkg {
	return slices.DeleteFunc(t.core(), func(p *pkg) bool {
		return slices.Contains(strings.Split(p.dir, "/"), "internal") || strings.HasPrefix(p.dir, "examples") ||
			len(p.sources()) == 0 || p.name() == "main"
	})
}

// sources returns the files of p that are no tests.
func (p *pkg) sources() []*file {
	return slices.DeleteFunc(slices.Clone(p.files), func(f *file) bool { return f.test })
}

// tests returns the test files of p.
func (p *pkg) tests() []*file {
	return slices.DeleteFunc(slices.Clone(p.files), func(f *file) bool { return !f.test })
}

func (p *pkg) name() string { return p.sources()[0].syntax.Name.Name }

// imports returns the import paths of f.
func (f *file) imports() []string {
	var out []string
	for _, spec := range f.syntax.Imports {
		if imp, err := strconv.Unquote(spec.Path.Value); err == nil {
			out = append(out, imp)
		}
	}
	return out
}

// importNames maps the name by which f refers to a package to its import path.
func (f *file) importNames() map[string]string {
	names := map[string]string{}
	for _, spec := range f.syntax.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(imp)
		if len(name) > 1 && name[0] == 'v' && strings.Trim(name[1:], "0123456789") == "" {
			name = path.Base(path.Dir(imp))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = imp
	}
	return names
}

// local returns the directory in this module that imp names, and false for an import from elsewhere.
func local(imp string) (string, bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

// thirdParty tells an import that is neither of the standard library nor of this module.
func thirdParty(imp string) bool {
	_, ours := local(imp)
	host, _, _ := strings.Cut(imp, "/")
	return !ours && strings.Contains(host, ".")
}

func (t *tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

var repository = sync.OnceValues(func() (*tree, error) { return load(os.DirFS("../..")) })

// check applies a check to this repository.
func check(t *testing.T, faults func(*tree) []string) {
	t.Helper()
	tr, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range faults(tr) {
		t.Error(fault)
	}
}

// plant returns the tree of files, given as path and content.
func plant(t *testing.T, files map[string]string) *tree {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, src := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(src)}
	}
	tr, err := load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// planted is a negative control: files hold exactly the faults that want names, each by a part of its text.
func planted(t *testing.T, faults func(*tree) []string, files map[string]string, want ...string) {
	t.Helper()
	got := faults(plant(t, files))
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.Contains(g, w) }) {
			t.Errorf("fault %q not found in %q", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d faults, want %d: %q", len(got), len(want), got)
	}
}

func TestLoadRefusesWhatItCannotParse(t *testing.T) {
	if _, err := load(fstest.MapFS{"a/a.go": {Data: []byte("package a\nfunc {")}}); err == nil {
		t.Error("a file that does not parse was accepted")
	}
}

// TestRepositoryIsRead guards the other tests against passing for having looked at nothing.
func TestRepositoryIsRead(t *testing.T) {
	tr, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"endpoint", "internal/archtest"} {
		if tr.packages[dir] == nil {
			t.Errorf("package %s not found", dir)
		}
	}
	if !slices.Contains(tr.nested, "tools") || tr.texts["go.mod"] == nil || tr.texts[".ci/run"] == nil {
		t.Error("tools/go.mod, go.mod or .ci/run not found")
	}
}
