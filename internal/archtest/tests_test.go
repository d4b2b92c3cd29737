package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"testing"
)

// sleepFaults finds tests that sleep on the machine's clock: outside a synctest bubble a sleep is either too short
// for a busy machine or a waste on an idle one.
func sleepFaults(t *tree) []string {
	var faults []string
	for _, p := range t.all() {
		for _, f := range p.tests() {
			names := f.importNames()
			if names["synctest"] == "testing/synctest" || inBubble(f) {
				continue
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
					if id, ok := sel.X.(*ast.Ident); ok && names[id.Name] == "time" {
						faults = append(faults, t.at(sel.Pos())+": time.Sleep outside a synctest bubble")
					}
				}
				return true
			})
		}
	}
	return faults
}

// inBubble reports whether the tests of a file begin their bubbles by the function of their package that is called so.
func inBubble(f *file) (found bool) {
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "inBubble" {
				found = true
			}
		}
		return !found
	})
	return found
}

// skipFaults finds skipped tests, in conformance kits too: a promise that is not tested is none.
func skipFaults(t *tree) []string {
	var faults []string
	for _, p := range t.all() {
		for _, f := range p.files {
			if !f.test && !slices.Contains(f.imports(), "testing") {
				continue
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
					return true
				}
				if id, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, id.Name) {
					faults = append(faults, fmt.Sprintf("%s: %s.%s", t.at(sel.Pos()), id.Name, sel.Sel.Name))
				}
				return true
			})
		}
	}
	return faults
}

func TestNoSleep(t *testing.T) { check(t, sleepFaults) }

func TestNoSkip(t *testing.T) { check(t, skipFaults) }

func TestNoSleepFinds(t *testing.T) {
	planted(t, sleepFaults, map[string]string{
		"p/a_test.go": "package p\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"p/b_test.go": "package p\nimport (\n\"time\"\n\"testing/synctest\"\n)\nfunc f() { synctest.Wait(); time.Sleep(1) }\n",
		"p/c_test.go": "package p\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }\n",
		"p/d.go":      "package p\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"p/e_test.go": "package p\nimport \"time\"\nfunc f() { inBubble(nil, func() { time.Sleep(1) }) }\n",
	}, "p/a_test.go:3", "p/c_test.go:3")
}

func TestNoSkipFinds(t *testing.T) {
	planted(t, skipFaults, map[string]string{
		"p/a_test.go": "package p\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Skip(\"later\") }\n",
		"p/kit.go":    "package p\nimport \"testing\"\nfunc Kit(tb testing.TB) { tb.SkipNow() }\n",
		"p/d.go":      "package p\nfunc f(t *tokens) { t.Skip() }\n",
	}, "p/a_test.go:3: t.Skip", "p/kit.go:3: tb.SkipNow")
}
