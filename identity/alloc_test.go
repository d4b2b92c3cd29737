//go:build !race

package identity_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/identity"
)

func TestAllocations(t *testing.T) {
	trust := identity.Trust{Networks: prefixes("10.0.0.0/8", "2001:db8::/32"), Principals: []string{"spiffe://td/a"}}
	p := identity.Principal{Kind: identity.Certificate, Name: "spiffe://td/b"}
	ctx := identity.NewContext(t.Context(), p)
	addr := netip.MustParseAddr("192.0.2.1")
	claims := identity.Claims{"scope": "read write", "a": map[string]any{"roles": []any{"x", json.Number("7"), true}}}
	for name, f := range map[string]func(){
		"Has":         func() { _ = claims.Has("scope", "x", "write") && claims.Has("a.roles", "7") && claims.Has("a.roles") },
		"Trusts":      func() { trust.Trusts(addr, p) },
		"FromContext": func() { identity.FromContext(ctx) },
		"PeerAddr":    func() { identity.PeerAddr("[2001:db8::1%eth0]:80") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
