package routing_test

import (
	"net/http"
	"testing"

	"github.com/tulle-mesh/tulle/routing"
	"github.com/tulle-mesh/tulle/tulletest"
)

// conformanceTables are filters that nobody may notice: none, none that do
// anything, and the removal of fields that are never there.
func conformanceTables(t *testing.T) map[string]*routing.Table[filters] {
	return map[string]*routing.Table[filters]{
		"no rules": nil,
		"no edits": compile(t, routing.Rule[filters]{}),
		"edits": compile(t, routing.Rule[filters]{Action: filters{
			Request:  routing.HeaderEdit{Remove: []string{"X-Never-There"}},
			Response: routing.HeaderEdit{Remove: []string{"X-Never-There"}},
		}}),
	}
}

func TestConformance(t *testing.T) {
	for name, table := range conformanceTables(t) {
		t.Run(name, func(t *testing.T) {
			t.Run("RoundTripper", func(t *testing.T) {
				tulletest.TestRoundTripper(t, func(next http.RoundTripper) http.RoundTripper {
					return routing.Middleware(table)(next)
				})
			})
			t.Run("Handler", func(t *testing.T) {
				tulletest.TestHandler(t, func(next http.Handler) http.Handler {
					return routing.Handler(table)(next)
				})
			})
		})
	}
}
