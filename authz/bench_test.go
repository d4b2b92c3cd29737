package authz_test

import (
	"fmt"
	"testing"

	"github.com/tulle-mesh/tulle/authz"
)

// BenchmarkDecide asks policies in which the last rule decides: of rules that
// name their paths, each elsewhere, and of rules that name their callers and so
// must be asked one by one.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		paths, callers := make([]authz.Rule, n), make([]authz.Rule, n)
		for i := range n {
			name := fmt.Sprintf("rule-%d", i)
			paths[i] = authz.Rule{
				Name: name, Action: authz.Allow,
				From: []authz.Source{{Principals: []string{"alice"}}},
				To:   []authz.Operation{{Methods: []string{"GET", "PUT"}, Paths: []authz.Path{{Prefix: fmt.Sprintf("/api/v1/service-%d", i)}}}},
			}
			callers[i] = authz.Rule{
				Name: name, Action: authz.Allow,
				From: []authz.Source{{Principals: []string{fmt.Sprintf("spiffe://shop/service-%d", i)}}},
				To:   []authz.Operation{{Methods: []string{"GET", "PUT"}}},
			}
		}
		target := fmt.Sprintf("GET /api/v1/service-%d/items/42", n-1)
		run := func(kind string, rules []authz.Rule, caller, target string, allowed bool) {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				a := newAuthorizer(b, rules...)
				r := as(parse(b, target), token(caller, ""))
				if a.Decide(r).Allowed != allowed {
					b.Fatal("the wrong decision is measured")
				}
				b.ReportAllocs()
				for b.Loop() {
					a.Decide(r)
				}
			})
		}
		run("paths", paths, "alice", target, true)
		run("doubt", paths, "alice", target+"//", false)
		run("callers", callers, fmt.Sprintf("spiffe://shop/service-%d", n-1), target, true)
	}
}
