package identity_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/identity"
)

const claimsDocument = `{
	"sub": "alice", "empty": "", "none": [], "null": null, "n": 9007199254740993, "email_verified": true,
	"groups": ["staff", "night shift", 7, false, null, ["nested"], {"a": "b"}],
	"scope": "read  write", "scp": ["a b", "c"],
	"realm_access": {"roles": ["admin"], "scope": "x y"},
	"a.b": "whole", "a": {"b": "steps", "c.d": "dots within", "e": {"f": "deep"}},
	"https://example.com/roles": ["owner"]
}`

func TestClaimsStrings(t *testing.T) {
	d := json.NewDecoder(strings.NewReader(claimsDocument))
	d.UseNumber()
	var claims identity.Claims
	if err := d.Decode(&claims); err != nil {
		t.Fatal(err)
	}
	claims["strings"] = []string{"a b", "c"}
	for name, want := range map[string][]string{
		"sub":                       {"alice"},
		"empty":                     {""},
		"none":                      {},
		"null":                      nil,
		"absent":                    nil,
		"":                          nil,
		"n":                         {"9007199254740993"},
		"email_verified":            {"true"},
		"groups":                    {"staff", "night shift", "7", "false"},
		"scope":                     {"read", "write"},
		"scp":                       {"a", "b", "c"},
		"strings":                   {"a b", "c"},
		"realm_access":              nil,
		"realm_access.roles":        {"admin"},
		"realm_access.scope":        {"x y"},
		"realm_access.":             nil,
		"realm_access.roles.x":      nil,
		".":                         nil,
		"a.b":                       {"whole"},
		"a.c.d":                     {"dots within"},
		"a.e.f":                     {"deep"},
		"https://example.com/roles": {"owner"},
	} {
		if got := claims.Strings(name); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	// Has says the same of every claim.
	names := []string{"sub", "empty", "none", "null", "absent", "", "n", "email_verified", "groups", "scope", "scp", "strings",
		"realm_access", "realm_access.roles", "realm_access.scope", ".", "a.b", "a.c.d", "https://example.com/roles"}
	values := []string{"", "a", "a b", "b", "read", "read  write", "write", "7", "false", "true", "nested", "night shift", "owner", "nobody"}
	for _, name := range names {
		strings := claims.Strings(name)
		if got := claims.Has(name); got != (len(strings) > 0) {
			t.Errorf("Has(%q) = %t of %q", name, got, strings)
		}
		for _, value := range append(values, strings...) {
			if got := claims.Has(name, "other", value); got != slices.Contains(strings, value) {
				t.Errorf("Has(%q, %q) = %t of %q", name, value, got, strings)
			}
		}
	}
	if got := identity.Claims(nil).Strings("sub"); got != nil {
		t.Errorf("no claims have %q", got)
	}
	if got := (identity.Claims{"n": float64(1e6), "scope": []string{"a b"}}).Strings("n"); !slices.Equal(got, []string{"1000000"}) {
		t.Errorf("a float64 reads %q", got)
	}
}

// An append to a result must not show in the claims.
func TestClaimsStringsAreClipped(t *testing.T) {
	backing := []string{"a", "b"}
	claims := identity.Claims{"x": backing[:1]}
	_ = append(claims.Strings("x"), "changed")
	if backing[1] != "b" {
		t.Fatal("an append to the result has changed what is behind the claims")
	}
}

func TestClaimsContext(t *testing.T) {
	if c, ok := identity.ClaimsFrom(t.Context()); ok || c != nil {
		t.Fatalf("an empty context carries %v", c)
	}
	ctx := identity.WithClaims(t.Context(), identity.Claims{"sub": "alice"})
	if c, ok := identity.ClaimsFrom(ctx); !ok || c["sub"] != "alice" {
		t.Fatalf("got %v, %t", c, ok)
	}
	if _, ok := identity.FromContext(ctx); ok {
		t.Fatal("claims alone make a principal")
	}
	if c, ok := identity.ClaimsFrom(identity.WithClaims(ctx, nil)); ok {
		t.Fatalf("nil did not hide %v", c)
	}
	if _, ok := identity.ClaimsFrom(identity.WithClaims(ctx, identity.Claims{})); !ok {
		t.Fatal("a token without claims reads as no token")
	}
}
