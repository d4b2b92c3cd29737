package identity_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/identity"
)

func TestPeerAddr(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1234":           "192.0.2.1",
		"192.0.2.1":                "192.0.2.1",
		"[2001:db8::1]:1234":       "2001:db8::1",
		"[2001:db8::1]":            "2001:db8::1",
		"2001:db8::1":              "2001:db8::1",
		"[::ffff:192.0.2.1]:1234":  "192.0.2.1",
		"[fe80::1%eth0]:1234":      "fe80::1",
		"":                         "",
		"@":                        "",
		"/run/mesh.sock":           "",
		"pipe":                     "",
		"example.com:80":           "",
		"[2001:db8::1":             "",
		"[2001:db8::1]x":           "",
		"192.0.2.1:1:2":            "",
		"[::]:1":                   "::",
		"[2001:DB8::8a2e:370:7]:1": "2001:db8::8a2e:370:7",
		"[1:2:3:4:5:6:7:8]:1":      "1:2:3:4:5:6:7:8",
		"[1:2:3:4:5:6:7::]:1":      "1:2:3:4:5:6:7:0",
		"[::2:3:4:5:6:7:8]:1":      "0:2:3:4:5:6:7:8",
		"[1:2:3:4:5::7:8]:1":       "1:2:3:4:5:0:7:8",
		"[1:2::5:6:7:8]:1":         "1:2::5:6:7:8",
		"[::ffff:c000:201]:1":      "192.0.2.1",
		"[1:2:3:4:5:6:7:8::]:1":    "",
		"[1:2:3:4::5:6:7:8]:1":     "",
		"[1:2:3:4:5:6:7:8:9]:1":    "",
		"[1:2:3:4:5:6:7]:1":        "",
		"[:1:2:3:4:5:6:7:8]:1":     "",
		"[1:2:3:4:5:6:7:8:]:1":     "",
		"[1:2:3:4:5:6:7:]:1":       "",
		"[::1:]:1":                 "",
		"[:::]:1":                  "",
		"[1:::2]:1":                "",
		"[1::2::3]:1":              "",
		"[:]:1":                    "",
		"[]:1":                     "",
		"[1]:1":                    "",
		"[12345::]:1":              "",
		"[::1]:1x":                 "",
		"192.0.2.01:80":            "",
		"192.0.2.1, 198.51.100.1":  "",
		"192.0.2.1:80, 127.0.0.1":  "",
		"[2001:db8::1]:1, [::1]:1": "",
	} {
		addr, ok := identity.PeerAddr(remote)
		if ok != (want != "") || ok && addr.String() != want {
			t.Errorf("%q: %v, %t; want %q", remote, addr, ok, want)
		}
	}
}

// FuzzPeerAddr holds PeerAddr to netip where that has an opinion.
func FuzzPeerAddr(f *testing.F) {
	for _, seed := range []string{"192.0.2.1:1", "[::1%eth0]:1", "[::ffff:1.2.3.4]:5", "[1:2::AbC:8]:80", "[1:2:3:4:5:6:7:8]", "::1", "", "[", "%", ":"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, remote string) {
		addr, ok := identity.PeerAddr(remote)
		if ok && (!addr.IsValid() || addr.Is4In6() || addr.Zone() != "") {
			t.Fatalf("%q: %v is not canonical", remote, addr)
		}
		// What is in brackets is an address or nothing.
		if rest, bracketed := strings.CutPrefix(remote, "["); bracketed && ok {
			in, _, _ := strings.Cut(rest, "]")
			in, _, _ = strings.Cut(in, "%")
			if want, err := netip.ParseAddr(in); err != nil || addr != want.Unmap() {
				t.Fatalf("%q: %v; netip says %v, %v", remote, addr, want, err)
			}
		}
		// A bracket in a zone is nothing that a peer's address has.
		if want, err := netip.ParseAddrPort(remote); err == nil && strings.Count(remote, "]") < 2 {
			if want := want.Addr().WithZone("").Unmap(); !ok || addr != want {
				t.Fatalf("%q: %v, %t; netip says %v", remote, addr, ok, want)
			}
		}
	})
}
