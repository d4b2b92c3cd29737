//go:build !race

package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// listed is what go list says of a package, a variant of one that is built for a test among them.
type listed struct {
	Dir, ImportPath, Name string
	DepOnly, Standard     bool
	GoFiles               []string
	ImportMap             map[string]string
	Module                *struct{ GoVersion string }
	Error                 *struct{ Err string }
}

// systems checks the types of modules as they are built for several operating systems. What they have in common
// is parsed once.
type systems struct {
	fset  *token.FileSet
	files map[string]*ast.File
}

func newSystems() *systems {
	return &systems{fset: token.NewFileSet(), files: map[string]*ast.File{}}
}

// faults returns what keeps the packages and tests of the module in dir from being built for goos: what the
// compiler would say of their names and types, and of the declarations of all they import, down to the standard library.
// Everything is read from source. Nothing is compiled, which for one system takes more time than many tests together.
func (s *systems) faults(dir, goos string) ([]string, error) {
	list := exec.Command("go", "list", "-e", "-deps", "-test", "-json", "./...")
	list.Dir = dir
	list.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0", "GOWORK=off")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list for %s: %w", goos, err)
	}
	var faults []string
	done := map[string]*types.Package{"unsafe": types.Unsafe}
	// A package comes after all that it imports.
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return faults, nil
		} else if err != nil {
			return nil, err
		}
		if p.Error != nil {
			faults = append(faults, fmt.Sprintf("%s: %s: %s", goos, p.ImportPath, strings.TrimSpace(p.Error.Err)))
			continue
		}
		// The main package of a test is generated, and the same for every system.
		if p.ImportPath == "unsafe" || strings.HasSuffix(p.ImportPath, ".test") {
			continue
		}
		for _, err := range s.check(&p, done) {
			faults = append(faults, fmt.Sprintf("%s: %v", goos, err))
		}
	}
}

// check checks p and puts it among those that are done. Of what is not ours declarations suffice.
func (s *systems) check(p *listed, done map[string]*types.Package) (faults []error) {
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := s.parse(filepath.Join(p.Dir, name))
		if err != nil {
			return []error{err}
		}
		files = append(files, f)
	}
	conf := types.Config{
		IgnoreFuncBodies: p.DepOnly,
		Sizes:            types.SizesFor("gc", runtime.GOARCH),
		Error:            func(err error) { faults = append(faults, err) },
		Importer: importerFunc(func(path string) (*types.Package, error) {
			if to := p.ImportMap[path]; to != "" {
				path = to
			}
			if done[path] == nil {
				return nil, fmt.Errorf("%s is not among what go list names", path)
			}
			return done[path], nil
		}),
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		conf.GoVersion = "go" + p.Module.GoVersion
	}
	path, _, _ := strings.Cut(p.ImportPath, " ")
	checked, _ := conf.Check(path, s.fset, files, nil)
	done[p.ImportPath] = checked
	return faults
}

func (s *systems) parse(name string) (*ast.File, error) {
	if f := s.files[name]; f != nil {
		return f, nil
	}
	f, err := parser.ParseFile(s.fset, name, nil, parser.SkipObjectResolution)
	s.files[name] = f
	return f, err
}

type importerFunc func(path string) (*types.Package, error)

func (f importerFunc) Import(path string) (*types.Package, error) { return f(path) }

// TestOtherSystems keeps the core and its tests free of what only the system at hand has. It is here for its price
// not run under the race detector, and make proof vets for the same systems.
func TestOtherSystems(t *testing.T) {
	s := newSystems()
	for _, goos := range []string{"windows", "darwin"} {
		faults, err := s.faults("../..", goos)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults {
			t.Error(fault)
		}
	}
}

// TestOtherSystemsFinds plants faults of one system in a package, in both kinds of its tests, in what it imports,
// and in the list of its files.
func TestOtherSystemsFinds(t *testing.T) {
	dir := t.TempDir()
	for name, src := range map[string]string{
		"go.mod":          "module m\ngo 1.26\n",
		"a.go":            "package m\nfunc A() { pause() }\n",
		"a_unix.go":       "//go:build unix\npackage m\nimport \"syscall\"\nfunc pause() { syscall.Kill(1, syscall.SIGSTOP) }\n",
		"a_darwin.go":     "package m\nimport \"syscall\"\nfunc usec(u *syscall.Rusage) int64 { return u.Utime.Usec }\n",
		"a_linux.go":      "package m\nimport _ \"m/proc\"\nfunc usec(u string) int64 { return u }\n",
		"in_test.go":      "package m\nfunc f() { var fd int; _ = usec(nil); pause(fd) }\n",
		"out_test.go":     "package m_test\nimport \"m\"\nfunc f() { m.A(); m.B() }\n",
		"b/b.go":          "package b\nimport \"m/proc\"\nfunc B() { proc.P() }\n",
		"proc/p_linux.go": "package proc\nfunc P() {}\n",
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(src), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	s := newSystems()
	for goos, want := range map[string][]string{
		"windows": {"a.go:2:12: undefined: pause", "in_test.go:2:28: undefined: usec", "out_test.go:3:21: undefined: m.B", "m/proc: build constraints"},
		"darwin":  {"a_darwin.go:3:45: cannot use", "in_test.go:2:45: too many", "out_test.go:3:21: undefined: m.B", "m/proc: build constraints"},
	} {
		got, err := s.faults(dir, goos)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, goos+": ") && strings.Contains(g, w) }) {
				t.Errorf("%s: fault %q not found in %q", goos, w, got)
			}
		}
		if slices.ContainsFunc(got, func(g string) bool { return strings.Contains(g, "linux.go:") }) {
			t.Errorf("%s: files of another system were checked: %q", goos, got)
		}
	}
}
