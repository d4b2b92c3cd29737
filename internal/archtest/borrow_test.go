package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// borrowed finds types in the exported API that a user could not name, or that would tie the user's code to a
// library the core may wish to exchange.
func borrowed(t *tree) []string {
	var faults []string
	for _, p := range t.public() {
		for _, f := range p.sources() {
			names := f.importNames()
			for _, part := range exportedTypes(f.syntax) {
				ast.Inspect(part, func(n ast.Node) bool {
					sel, ok := n.(*ast.SelectorExpr)
					if !ok {
						return true
					}
					id, ok := sel.X.(*ast.Ident)
					if !ok {
						return true
					}
					imp := names[id.Name]
					dir, ours := local(imp)
					hidden := ours && slices.Contains(strings.Split(dir, "/"), "internal")
					if hidden || slices.Contains([]string{failsafe, retryablehttp, jwx, testify}, moduleNamed(imp)) {
						faults = append(faults, fmt.Sprintf("%s: exported API uses %s of %s", t.at(sel.Pos()), sel.Sel.Name, imp))
					}
					return true
				})
			}
		}
	}
	return faults
}

// exportedTypes returns the parts of f that the types of its exported API stand in.
func exportedTypes(f *ast.File) []ast.Node {
	var parts []ast.Node
	fields := func(list *ast.FieldList) {
		for _, f := range list.List {
			if len(f.Names) == 0 && ast.IsExported(baseName(f.Type)) ||
				slices.ContainsFunc(f.Names, func(n *ast.Ident) bool { return n.IsExported() }) {
				parts = append(parts, f.Type)
			}
		}
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(baseName(d.Recv.List[0].Type))) {
				parts = append(parts, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if !s.Name.IsExported() {
						continue
					}
					switch typ := s.Type.(type) {
					case *ast.StructType:
						fields(typ.Fields)
					case *ast.InterfaceType:
						fields(typ.Methods)
					default:
						parts = append(parts, s.Type)
					}
				case *ast.ValueSpec:
					exported := slices.ContainsFunc(s.Names, func(n *ast.Ident) bool { return n.IsExported() })
					if exported && s.Type != nil {
						parts = append(parts, s.Type)
					}
				}
			}
		}
	}
	return parts
}

func TestAPIBorrowsNoTypes(t *testing.T) { check(t, borrowed) }

func TestAPIBorrowsNoTypesFinds(t *testing.T) {
	planted(t, borrowed, map[string]string{"authn/a.go": `package authn

import (
	"net/http"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/tulle-mesh/tulle/internal/body"
)

type Keys struct {
	Set    jwk.Set
	hidden jwk.Set
	Body   []*body.Hook
	Header http.Header
}

func New(k *jwk.Set) *Keys { return nil }
func private(jwk.Set)      {}

var Default jwk.Set
`}, "a.go:11: exported API uses Set", "a.go:13: exported API uses Hook", "a.go:17: exported API uses Set", "a.go:20: exported API uses Set")
}
