//go:build !race

package authz_test

import (
	"encoding/json"
	"testing"

	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/identity"
)

func TestDecideDoesNotAllocate(t *testing.T) {
	long := make([]string, 100)
	for i := range long {
		long[i] = string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	a := newAuthorizer(t,
		authz.Rule{Name: "no", Action: authz.Deny, From: []authz.Source{{Principals: long, NotNetworks: prefixes("10.0.0.0/8")}}},
		authz.Rule{Name: "not", Action: authz.Deny, To: []authz.Operation{{NotHosts: []string{"*.example"}}, {NotMethods: []string{"GET", "HEAD"}}}},
		authz.Rule{
			Name: "yes", Action: authz.Allow,
			From: []authz.Source{{Principals: []string{"alice"}, Issuers: []string{"idp"}, Networks: prefixes("2001:db8::/32")}},
			To:   []authz.Operation{{Methods: []string{"GET"}, Hosts: []string{"shop.example"}, Paths: []authz.Path{{Prefix: "/a"}}, NotPaths: []authz.Path{{Exact: "/a/b"}}}},
			When: []authz.Condition{
				{Claim: "realm.roles", Values: []string{"admin"}},
				{Claim: "scope", Values: []string{"write"}, NotValues: []string{"none"}},
				{Claim: "level", Values: []string{"3"}},
				{Header: "X-Team", Values: []string{"a", "x,y"}, NotValues: []string{"b"}},
			},
		},
	)
	claims := identity.Claims{"realm": map[string]any{"roles": []any{"user", "admin"}}, "scope": "read write", "level": json.Number("3")}
	ask := func(line string, fields ...string) func() bool {
		r := as(bearing(parse(t, line, fields...), claims), token("alice", "idp"))
		r.RemoteAddr = "[2001:db8::1%eth0]:4711"
		return func() bool { return a.Decide(r).Allowed }
	}
	for name, c := range map[string]struct {
		f    func() bool
		want bool
	}{
		"allowed":      {ask("GET /a/caf%C3%A9/x", "X-Team: a"), true},
		"escapes":      {ask("GET /a/x%2cy%c3%a9", "X-Team: a"), true},
		"denied":       {ask("POST /a", "X-Team: a"), false},
		"no path":      {ask("GET /b", "X-Team: a"), false},
		"path":         {ask("GET /a/%2e%2e//b;x%2F", "X-Team: a"), false},
		"header":       {ask("GET /a", "X-Team: q", "X-Team: a, b"), false},
		"joined":       {ask("GET /a", "X-Team: x", "X-Team: y"), false},
		"method":       {ask("head /a", "X-Team: a"), false},
		"double slash": {ask("GET //a", "X-Team: a"), false},
	} {
		if got := c.f(); got != c.want {
			t.Errorf("%s: allowed %t", name, got)
		}
		if n := testing.AllocsPerRun(100, func() { c.f() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
