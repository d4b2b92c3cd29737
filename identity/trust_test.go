package identity_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/identity"
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

func TestTrustNetworks(t *testing.T) {
	for _, c := range []struct {
		networks []netip.Prefix
		addr     string
		want     bool
	}{
		{nil, "127.0.0.1", true},
		{nil, "127.255.0.9", true},
		{nil, "::1", true},
		{nil, "::ffff:127.0.0.1", true},
		{nil, "10.0.0.1", false},
		{nil, "::", false},
		{nil, "0.0.0.0", false},
		{prefixes("10.0.0.0/8"), "10.9.8.7", true},
		{prefixes("10.0.0.0/8"), "::ffff:10.9.8.7", true},
		{prefixes("10.0.0.0/8"), "11.0.0.1", false},
		{prefixes("10.0.0.0/8"), "127.0.0.1", false},
		{prefixes("10.0.0.0/8"), "::10.0.0.1", false},
		{prefixes("::ffff:10.0.0.0/104"), "10.9.8.7", true},
		{prefixes("::ffff:10.0.0.0/104"), "11.9.8.7", false},
		{prefixes("2001:db8::/32", "192.0.2.0/24"), "192.0.2.200", true},
		{prefixes("2001:db8::/32"), "2001:db8:1::1", true},
		{prefixes("::/0"), "192.0.2.1", false},
		{prefixes("fe80::/10"), "fe80::1%eth0", true},
	} {
		trust := identity.Trust{Networks: c.networks}
		if err := trust.Validate(); err != nil {
			t.Errorf("%v: %v", c.networks, err)
		}
		if got := trust.Trusts(netip.MustParseAddr(c.addr), identity.Principal{}); got != c.want {
			t.Errorf("%v trusts %s: %t, want %t", c.networks, c.addr, got, c.want)
		}
	}
}

// TestTrustInvalidAddr has the peer of a unix socket.
func TestTrustInvalidAddr(t *testing.T) {
	for _, trust := range []identity.Trust{{}, {Networks: prefixes("0.0.0.0/0", "::/0")}} {
		if trust.Trusts(netip.Addr{}, identity.Principal{}) {
			t.Errorf("%v trusts no address", trust)
		}
	}
}

func TestTrustPrincipals(t *testing.T) {
	const name = "spiffe://td/ns/x"
	trust := identity.Trust{Principals: []string{"spiffe://td/ns/other", name}}
	outside := netip.MustParseAddr("198.51.100.1")
	certificate := func(name string) identity.Principal {
		return identity.Principal{Kind: identity.Certificate, Name: name, Issuer: "CN=root"}
	}
	if !trust.Trusts(outside, certificate(name)) {
		t.Error("a listed principal is not trusted")
	}
	if !trust.Trusts(netip.Addr{}, certificate(name)) {
		t.Error("a listed principal without an address is not trusted")
	}
	for _, alike := range []string{
		"", "spiffe://td", "spiffe://td/ns", "spiffe://td/ns/", "spiffe://td/ns/x/", "spiffe://td/ns/x/y",
		"spiffe://td/ns/xy", "spiffe://td.evil/ns/x", "spiffe://evil/spiffe://td/ns/x", "spiffe://td/ns/X",
		"SPIFFE://td/ns/x", "spiffe://td//ns/x", "spiffe://td/ns/%78", " spiffe://td/ns/x", "spiffe://td/ns/x\x00",
		"https://td/ns/x",
	} {
		if trust.Trusts(outside, certificate(alike)) {
			t.Errorf("%q is trusted", alike)
		}
	}
	for _, kind := range []identity.Kind{identity.Anonymous, identity.Token, identity.APIKey} {
		if trust.Trusts(outside, identity.Principal{Kind: kind, Name: name}) {
			t.Errorf("a principal of kind %v is trusted for its headers", kind)
		}
	}
	if trust.Trusts(netip.MustParseAddr("127.0.0.1"), identity.Principal{}) {
		t.Error("loopback is trusted though principals replace the default")
	}
	// An entry that validation refuses must not trust the nameless either.
	empty := identity.Trust{Principals: []string{""}}
	if empty.Trusts(outside, identity.Principal{Kind: identity.Certificate}) {
		t.Error("a nameless principal is trusted")
	}
}

func TestTrustValidate(t *testing.T) {
	err := identity.Trust{
		Networks: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), {},
			netip.MustParsePrefix("10.1.2.3/8"), netip.MustParsePrefix("::ffff:0:0/90"),
		},
		Principals: []string{"a", "", "a"},
	}.Validate()
	if err == nil {
		t.Fatal("no fault found")
	}
	for i, want := range []string{
		"networks[1]: ", "networks[2]: 10.1.2.3/8 has host bits set; write 10.0.0.0/8", "networks[3]: ",
		"principals[1]: ", `principals[2]: "a"`,
	} {
		if lines := strings.Split(err.Error(), "\n"); len(lines) != 5 || !strings.HasPrefix(lines[i], want) {
			t.Errorf("fault %d of %q does not begin with %q", i, lines, want)
		}
	}
}
