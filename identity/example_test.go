package identity_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/tulle-mesh/tulle/identity"
)

func Example() {
	// Whoever has verified the peer of a connection says so in the context.
	peer := identity.Principal{Kind: identity.Certificate, Name: "spiffe://shop/ns/web/sa/frontend"}
	ctx := identity.NewContext(context.Background(), peer)

	// Everything after that reads it there.
	p, ok := identity.FromContext(ctx)
	fmt.Println(p, ok)

	// Its hints count because of its name, though not because of its address.
	trust := identity.Trust{
		Networks:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Principals: []string{"spiffe://shop/ns/web/sa/frontend"},
	}
	addr := netip.MustParseAddr("192.0.2.7")
	fmt.Println(trust.Trusts(addr, p), trust.Trusts(addr, identity.Principal{}))
	// Output:
	// spiffe://shop/ns/web/sa/frontend true
	// true false
}
