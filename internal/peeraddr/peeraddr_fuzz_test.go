package peeraddr

import (
	"net/netip"
	"strings"
	"testing"
)

// FuzzParse holds what is read in one pass to what reads all forms, and that to
// netip where netip has an opinion.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"192.0.2.1:1", "192.0.2.01", "[::1%eth0]:123", "[::ffff:1.2.3.4]:5", "[::FFFF:102:304]:443", "[1:2::AbC:8]:80",
		"[1:2:3:4:5:6:7:8]:65535", "[1:2:3:4:5:6:7::]:123", "[::2:3:4:5:6:7:8]:123", "[0001:0::00:0]:123",
		"[1:2:3:4:5:6:7:8:9]:123", "[1::2::3]:123", "[:::]:123", "[12345::]:123", "[1::2:]:123", "::1", "", "[", "%", ":", "[]:123", "[%]:123",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, remote string) {
		got, ok := Parse(remote)
		if want, is := parseAny(remote); got != want || ok != is {
			t.Fatalf("%q: %x, %t; want %x, %t", remote, got, ok, want, is)
		}
		if !ok && got != (Bits{}) {
			t.Fatalf("%q: %x is no address", remote, got)
		}
		// A bracket in a zone is nothing that a peer's address has.
		want, err := netip.ParseAddrPort(remote)
		if err != nil || strings.Count(remote, "]") > 1 {
			return
		}
		if !ok || got != bits(want.Addr()) || got.Is4() != want.Addr().Unmap().Is4() {
			t.Fatalf("%q: %x, %t; netip says %v", remote, got, ok, want)
		}
	})
}
