package identity_test

import (
	"context"
	"testing"

	"github.com/tulle-mesh/tulle/identity"
)

func TestContext(t *testing.T) {
	if p, ok := identity.FromContext(t.Context()); ok || !p.IsZero() {
		t.Fatalf("an empty context carries %v, %t", p, ok)
	}
	reviews := identity.Principal{Kind: identity.Certificate, Name: "spiffe://td/ns/shop/sa/reviews"}
	ctx := identity.NewContext(t.Context(), reviews)
	if p, ok := identity.FromContext(ctx); !ok || p != reviews {
		t.Fatalf("got %v, %t", p, ok)
	}
	type other struct{}
	if p, ok := identity.FromContext(context.WithValue(ctx, other{}, 1)); !ok || p != reviews {
		t.Fatalf("lost in a derived context: %v, %t", p, ok)
	}
	if p, ok := identity.FromContext(identity.NewContext(ctx, identity.Principal{})); ok {
		t.Fatalf("the zero Principal did not hide %v", p)
	}
}

func TestPrincipalString(t *testing.T) {
	for want, p := range map[string]identity.Principal{
		"anonymous":   {},
		"spiffe://td": {Kind: identity.Certificate, Name: "spiffe://td", Issuer: "CN=root"},
	} {
		if p.String() != want {
			t.Errorf("%#v: %q, want %q", p, p, want)
		}
	}
	for want, k := range map[string]identity.Kind{
		"anonymous": identity.Anonymous, "certificate": identity.Certificate,
		"token": identity.Token, "api-key": identity.APIKey, "unknown": 99,
	} {
		if k.String() != want {
			t.Errorf("kind %d: %q, want %q", k, k, want)
		}
	}
}
