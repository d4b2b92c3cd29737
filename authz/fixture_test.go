package authz_test

import (
	"bufio"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/identity"
)

func newAuthorizer(t testing.TB, rules ...authz.Rule) *authz.Authorizer {
	t.Helper()
	a, err := authz.New(authz.Policy{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// parse returns the request that net/http makes of a request line and fields.
func parse(t testing.TB, line string, fields ...string) *http.Request {
	t.Helper()
	r, err := read(line, fields...)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return r
}

func read(line string, fields ...string) (*http.Request, error) {
	text := line + " HTTP/1.1\r\n" + strings.Join(append(fields, "Host: shop.example\r\n\r\n"), "\r\n")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		return nil, err
	}
	r.RemoteAddr = "192.0.2.1:4711"
	return r, nil
}

func as(r *http.Request, p identity.Principal) *http.Request {
	return r.WithContext(identity.NewContext(r.Context(), p))
}

func bearing(r *http.Request, c identity.Claims) *http.Request {
	return r.WithContext(identity.WithClaims(r.Context(), c))
}

func token(name, issuer string) identity.Principal {
	return identity.Principal{Kind: identity.Token, Name: name, Issuer: issuer}
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// answers are what a Deny rule and an Allow rule make of the same conditions: a
// condition that surely holds denies and allows, one that surely does not hold
// does neither, and one in doubt denies and does not allow.
type answers struct{ denies, allows bool }

var (
	holds   = answers{denies: true, allows: true}
	inDoubt = answers{denies: true, allows: false}
	fails   = answers{denies: false, allows: false}
)

// ask asks a Deny rule and an Allow rule with the conditions of rule, each alone.
func ask(t testing.TB, rule authz.Rule, r *http.Request) answers {
	t.Helper()
	var a answers
	rule.Name = "rule"
	rule.Action = authz.Deny
	if policy := (authz.Policy{Rules: []authz.Rule{rule}}); policy.Validate() == nil {
		a.denies = !newAuthorizer(t, rule).Decide(r).Allowed
	}
	rule.Action = authz.Allow
	if policy := (authz.Policy{Rules: []authz.Rule{rule}}); policy.Validate() == nil {
		a.allows = newAuthorizer(t, rule).Decide(r).Allowed
	}
	return a
}
