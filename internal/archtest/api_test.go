package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// api renders the exported API of p, one line for each exported constant, variable, function, type, field and
// method, in an order of its own, so that moving code between files changes nothing.
func api(p *pkg) []string {
	r := &renderer{}
	for _, f := range p.sources() {
		for _, decl := range f.syntax.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				r.function(d)
			case *ast.GenDecl:
				r.general(d)
			}
		}
	}
	slices.Sort(r.lines)
	return slices.Compact(r.lines) // a function may stand in one file per system
}

type renderer struct{ lines []string }

func (r *renderer) addf(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *renderer) function(d *ast.FuncDecl) {
	if !d.Name.IsExported() {
		return
	}
	signature := strings.TrimPrefix(render(d.Type), "func")
	if d.Recv == nil {
		r.addf("func %s%s", d.Name, signature)
		return
	}
	receiver := d.Recv.List[0].Type
	if name := baseName(receiver); ast.IsExported(name) {
		r.addf("type %s: method (%s) %s%s", name, render(receiver), d.Name, signature)
	}
}

func (r *renderer) general(d *ast.GenDecl) {
	switch d.Tok {
	case token.CONST:
		r.constants(d)
	case token.VAR:
		for _, spec := range d.Specs {
			s := spec.(*ast.ValueSpec)
			for i, name := range s.Names {
				if name.IsExported() {
					r.addf("var %s%s", name, valueText(s, i))
				}
			}
		}
	case token.TYPE:
		for _, spec := range d.Specs {
			if s := spec.(*ast.TypeSpec); s.Name.IsExported() {
				r.typeSpec(s)
			}
		}
	}
}

// constants renders a constant by its type and expression; where the expression counts, the count is part of the
// API too, since a constant moved within its block changes value.
func (r *renderer) constants(d *ast.GenDecl) {
	var typ ast.Expr
	var values []ast.Expr
	for iota, spec := range d.Specs {
		s := spec.(*ast.ValueSpec)
		if s.Type != nil || len(s.Values) > 0 {
			typ, values = s.Type, s.Values
		}
		for i, name := range s.Names {
			if !name.IsExported() {
				continue
			}
			text := ""
			if typ != nil {
				text = " " + render(typ)
			}
			if i < len(values) {
				text += " = " + render(values[i])
				if mentions(values[i], "iota") {
					text += fmt.Sprintf(" at %d", iota)
				}
			}
			r.addf("const %s%s", name, text)
		}
	}
}

func (r *renderer) typeSpec(s *ast.TypeSpec) {
	name := s.Name.Name
	params := ""
	if s.TypeParams != nil {
		var list []string
		for _, f := range s.TypeParams.List {
			for _, n := range f.Names {
				list = append(list, n.Name+" "+render(f.Type))
			}
		}
		params = "[" + strings.Join(list, ", ") + "]"
	}
	switch typ := s.Type.(type) {
	case *ast.StructType:
		unexported := ""
		for _, f := range typ.Fields.List {
			tag := ""
			if f.Tag != nil {
				tag = " " + f.Tag.Value
			}
			if len(f.Names) == 0 {
				if ast.IsExported(baseName(f.Type)) {
					r.addf("type %s: field embeds %s%s", name, render(f.Type), tag)
				} else {
					unexported = ", more unexported"
				}
			}
			for _, n := range f.Names {
				if n.IsExported() {
					r.addf("type %s: field %s %s%s", name, n, render(f.Type), tag)
				} else {
					unexported = ", more unexported"
				}
			}
		}
		r.addf("type %s%s struct%s", name, params, unexported)
	case *ast.InterfaceType:
		sealed := ""
		for _, f := range typ.Methods.List {
			switch {
			case len(f.Names) == 0:
				r.addf("type %s: interface embeds %s", name, render(f.Type))
			case f.Names[0].IsExported():
				r.addf("type %s: interface method %s%s", name, f.Names[0], strings.TrimPrefix(render(f.Type), "func"))
			default:
				sealed = ", sealed"
			}
		}
		r.addf("type %s%s interface%s", name, params, sealed)
	default:
		alias := ""
		if s.Assign.IsValid() {
			alias = "= "
		}
		r.addf("type %s%s %s%s", name, params, alias, render(s.Type))
	}
}

// valueText renders the type of a variable, or the expression it gets it from without what is inside it.
func valueText(s *ast.ValueSpec, i int) string {
	if s.Type != nil {
		return " " + render(s.Type)
	}
	if i >= len(s.Values) {
		return " = " + render(s.Values[0])
	}
	switch v := s.Values[i].(type) {
	case *ast.CallExpr:
		return " = " + render(v.Fun) + "(...)"
	case *ast.CompositeLit:
		return " = " + render(v.Type) + "{...}"
	default:
		return " = " + render(v)
	}
}

// render prints a node on one line. Struct types inside a signature keep their line breaks as semicolons.
func render(n ast.Node) string {
	var b bytes.Buffer
	if err := format.Node(&b, token.NewFileSet(), n); err != nil {
		return err.Error()
	}
	var parts []string
	for line := range strings.Lines(b.String()) {
		parts = append(parts, strings.TrimSpace(line))
	}
	return strings.Join(parts, "; ")
}

// baseName returns the name of a type without pointer, package and type arguments.
func baseName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return baseName(e.X)
	case *ast.IndexExpr:
		return baseName(e.X)
	case *ast.IndexListExpr:
		return baseName(e.X)
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func mentions(e ast.Expr, name string) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && id.Name == name
		return !found
	})
	return found
}

const apiDir = "testdata/api"

// apiFile names the golden file of the package in dir.
func apiFile(dir string) string {
	if dir == "." {
		dir = "tulle"
	}
	return filepath.Join(apiDir, strings.ReplaceAll(dir, "/", "_")+".txt")
}

func TestAPI(t *testing.T) {
	tr, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.MkdirAll(apiDir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	expected := map[string]bool{}
	for _, p := range tr.public() {
		name := apiFile(p.dir)
		expected[name] = true
		golden(t, name, strings.Join(api(p), "\n")+"\n")
	}
	files, err := filepath.Glob(apiDir + "/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if expected[name] {
			continue
		}
		if !*update {
			t.Errorf("%s: its package is gone", name)
		} else if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

func TestAPIRendersWhatIsExported(t *testing.T) {
	const src = `package p

import "net/http"

// Kind is a kind.
type Kind uint8

const (
	First Kind = iota
	hidden
	Third
)

const Name = "n"

var ErrOpen = errors.New("p: open")

type Config struct {
	A, B int ` + "`json:\"a\"`" + `
	c    int
	*http.Client
	Each func(a struct {
		X int
	}) error
}

type Picker[T any, U comparable] interface {
	Pick(q Query) *T
	sealed()
}

type (
	Alias = http.Header
	local struct{ A int }
)

func New(c Config, opts ...func(*Config)) (*Config, error) { return nil, nil }
func (c *Config) Do()                                      {}
func (local) Do()                                          {}
func (c Config) undo()                                     {}
func Map[A, B any](in []A, f func(A) B) []B                { return nil }
`
	fsys := map[string]string{"p/p.go": src}
	want := []string{
		"const First Kind = iota at 0",
		"const Name = \"n\"",
		"const Third Kind = iota at 2",
		"func Map[A, B any](in []A, f func(A) B) []B",
		"func New(c Config, opts ...func(*Config)) (*Config, error)",
		"type Alias = http.Header",
		"type Config struct, more unexported",
		"type Config: field A int `json:\"a\"`",
		"type Config: field B int `json:\"a\"`",
		"type Config: field Each func(a struct{ X int }) error",
		"type Config: field embeds *http.Client",
		"type Config: method (*Config) Do()",
		"type Kind uint8",
		"type Picker: interface method Pick(q Query) *T",
		"type Picker[T any, U comparable] interface, sealed",
		"var ErrOpen = errors.New(...)",
	}
	got := api(plant(t, fsys).packages["p"])
	if diff := lineDiff(strings.Join(want, "\n"), strings.Join(got, "\n")); diff != "" {
		t.Error(diff)
	}
}
