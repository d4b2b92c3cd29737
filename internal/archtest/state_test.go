package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// settled lists package-level variables that are no mutable state though their type could be, each with its reason.
var settled = map[string]string{}

// stateFaults finds what would let two meshes in one process, or two tests, reach each other: init functions,
// package-level variables that can change, and pools of shared objects. Sentinel errors are fine, and so are arrays,
// numbers, texts and plain structs that nobody assigns to.
func stateFaults(t *tree) []string {
	var faults []string
	used := map[string]bool{}
	for _, p := range t.core() {
		written := p.written()
		types := p.types()
		for _, f := range p.sources() {
			for _, pos := range pools(f) {
				faults = append(faults, t.at(pos)+": sync.Pool")
			}
			for _, decl := range f.syntax.Decls {
				if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
					faults = append(faults, t.at(d.Pos())+": func init")
				}
				d, ok := decl.(*ast.GenDecl)
				if !ok || d.Tok != token.VAR {
					continue
				}
				for _, spec := range d.Specs {
					s := spec.(*ast.ValueSpec)
					for i, name := range s.Names {
						key := p.dir + "." + name.Name
						if _, ok := settled[key]; ok {
							used[key] = true
							continue
						}
						if name.Name == "_" || sentinel(s, i, types) {
							continue
						}
						if why := mutable(s, i, types, written); why != "" {
							faults = append(faults, fmt.Sprintf("%s: %s %s", t.at(name.Pos()), name, why))
						}
					}
				}
			}
		}
	}
	for key := range settled {
		if !used[key] {
			faults = append(faults, "settled: no variable "+key)
		}
	}
	return faults
}

// sentinel tells an error value made once: by errors.New, by fmt.Errorf around another, or, where nobody outside can
// reach it, as a pointer to a type of errors whose fields cannot change by a copy.
func sentinel(s *ast.ValueSpec, i int, types map[string]ast.Expr) bool {
	if i >= len(s.Values) {
		return false
	}
	switch v := s.Values[i].(type) {
	case *ast.CallExpr:
		return slices.Contains([]string{"errors.New", "fmt.Errorf"}, render(v.Fun))
	case *ast.UnaryExpr:
		lit, ok := v.X.(*ast.CompositeLit)
		return ok && v.Op == token.AND && strings.HasPrefix(s.Names[i].Name, "err") && fixed(lit.Type, types)
	}
	return false
}

// mutable says why the i-th variable of s can change, or nothing if it cannot.
func mutable(s *ast.ValueSpec, i int, types map[string]ast.Expr, written map[string]bool) string {
	name := s.Names[i]
	if written[name.Name] {
		return "is a package-level variable that is written or whose address is taken"
	}
	if name.IsExported() {
		return "is an exported variable that anyone can write"
	}
	if s.Type != nil && fixed(s.Type, types) {
		return ""
	}
	if s.Type == nil && i < len(s.Values) {
		switch v := s.Values[i].(type) {
		case *ast.BasicLit, *ast.BinaryExpr:
			return ""
		case *ast.CompositeLit:
			if fixed(v.Type, types) {
				return ""
			}
		case *ast.CallExpr: // a conversion
			if fixed(v.Fun, types) {
				return ""
			}
		}
	}
	return "is a package-level variable of a type that can change"
}

// fixed tells a type whose values nobody can change through a copy: basic types, functions, and arrays and structs
// of this package made of such. Types from elsewhere are taken for mutable.
func fixed(e ast.Expr, types map[string]ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		if under, ok := types[e.Name]; ok {
			return fixed(under, types)
		}
		return slices.Contains([]string{
			"bool", "string", "byte", "rune", "float32", "float64",
			"int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64",
		}, e.Name)
	case *ast.IndexExpr:
		return fixed(e.X, types)
	case *ast.FuncType:
		return true
	case *ast.ArrayType:
		return e.Len != nil && fixed(e.Elt, types)
	case *ast.StructType:
		return !slices.ContainsFunc(e.Fields.List, func(f *ast.Field) bool { return !fixed(f.Type, types) })
	}
	return false
}

// types maps the names of the types declared in p to what stands behind them. A type that contains itself can do so
// only through a pointer, slice or map, so fixed ends.
func (p *pkg) types() map[string]ast.Expr {
	out := map[string]ast.Expr{}
	for _, f := range p.sources() {
		for _, decl := range f.syntax.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
				for _, spec := range d.Specs {
					s := spec.(*ast.TypeSpec)
					out[s.Name.Name] = s.Type
				}
			}
		}
	}
	return out
}

// written holds the names that functions of p assign to, increment or take the address of, in whole or in part. A
// local variable of the same name counts too: a package-level name should not be shadowed anyway.
func (p *pkg) written() map[string]bool {
	out := map[string]bool{}
	mark := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.SliceExpr:
				e = x.X
			case *ast.StarExpr:
				e = x.X
			case *ast.ParenExpr:
				e = x.X
			case *ast.Ident:
				out[x.Name] = true
				return
			default:
				return
			}
		}
	}
	for _, f := range p.sources() {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, e := range n.Lhs {
						mark(e)
					}
				}
			case *ast.IncDecStmt:
				mark(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					mark(n.X)
				}
			case *ast.SliceExpr:
				mark(n.X)
			}
			return true
		})
	}
	return out
}

// pools finds uses of sync.Pool: a request or what belongs to it may still be read after an error return.
func pools(f *file) []token.Pos {
	var out []token.Pos
	names := f.importNames()
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Pool" {
			if id, ok := sel.X.(*ast.Ident); ok && names[id.Name] == "sync" {
				out = append(out, sel.Pos())
			}
		}
		return true
	})
	return out
}

func TestNoInit(t *testing.T) { check(t, stateFaults) }

func TestNoInitFinds(t *testing.T) {
	planted(t, stateFaults, map[string]string{
		"p/p.go": `package p

import (
	"errors"
	"sync"
	"sync/atomic"
)

var ErrSentinel = errors.New("p: sentinel")
var errUnexported = &pair{1, "a", nil}
var _ error = (*fault)(nil)
var table = [...]string{"a", "b"}
var pairs = [2]pair{{1, "a", f}}
var one = pair{n: 1}
var rows = [...]row[int]{{"a", nil}}
var limit = 1 << 10

type pair struct {
	n int
	s string
	f func() []int
}
type row[T any] struct {
	name string
	test func(T)
}
type set map[string]bool
type holder struct{ names []string }

var Exported = 1
var byName = map[string]int{}
var named set
var list []int
var pointer = &pair{}
var mu sync.Mutex
var count atomic.Int64
var held = holder{}
var made = make(chan int)
var next = 1
var grid = [2]int{}
var pool sync.Pool
var ErrPointer = &pair{}

func init() {}

func f() []int {
	grid[0] = 1
	next++
	local := one
	local.n = 2
	return list
}
`,
		"p/p_test.go":   "package p\n\nvar fixtures = map[string]int{}\n\nfunc init() {}\n",
		"tools/go.mod":  "module x\n",
		"tools/main.go": "package main\n\nvar m = map[string]int{}\n",
	},
		": Exported is an exported", ": byName", ": named", ": list", ": pointer", ": mu", ": count", ": held", ": made",
		": next is", ": grid is", ": pool is", ": ErrPointer is", "sync.Pool", "func init",
	)
}
