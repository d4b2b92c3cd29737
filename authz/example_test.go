package authz_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/identity"
)

// Everybody may read reviews, the product page may write them, and nobody from
// the guests' network may do anything.
func Example() {
	rules, err := authz.New(authz.Policy{Rules: []authz.Rule{
		{
			Name: "read", Action: authz.Allow,
			To: []authz.Operation{{Methods: []string{"GET", "HEAD"}, Paths: []authz.Path{{Prefix: "/reviews"}}}},
		},
		{
			Name: "write", Action: authz.Allow,
			From: []authz.Source{{Principals: []string{"spiffe://shop/productpage"}}},
			To:   []authz.Operation{{Methods: []string{"POST"}, Paths: []authz.Path{{Prefix: "/reviews"}}}},
		},
		{
			Name: "guests", Action: authz.Deny,
			From: []authz.Source{{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}},
		},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := rules.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))

	page := identity.Principal{Kind: identity.Certificate, Name: "spiffe://shop/productpage"}
	ask := func(method, path, remote string, p identity.Principal) {
		r := httptest.NewRequest(method, path, nil)
		r.RemoteAddr = remote
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r.WithContext(identity.NewContext(r.Context(), p)))
		fmt.Println(method, path, p, w.Code)
	}
	ask("GET", "/reviews/7", "192.0.2.1:4711", identity.Principal{})
	ask("POST", "/reviews/7", "192.0.2.1:4711", identity.Principal{})
	ask("POST", "/reviews/7", "192.0.2.1:4711", page)
	ask("GET", "/reviews/7", "198.51.100.9:4711", page)
	ask("GET", "/reviews/%2e%2e/admin", "192.0.2.1:4711", page)
	for _, rule := range rules.Stats().Rules {
		fmt.Println(rule.Name, rule.Action, rule.Matched)
	}
	// Output:
	// GET /reviews/7 anonymous 200
	// POST /reviews/7 anonymous 403
	// POST /reviews/7 spiffe://shop/productpage 200
	// GET /reviews/7 spiffe://shop/productpage 403
	// GET /reviews/%2e%2e/admin spiffe://shop/productpage 403
	// read allow 1
	// write allow 1
	// guests deny 1
}
