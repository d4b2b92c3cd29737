//go:build !race

package peeraddr

import "testing"

func TestAllocations(t *testing.T) {
	for _, remote := range []string{"192.0.2.1:80", "[2001:db8::1]:1234", "[2001:db8::1%eth0]:1234", "2001:db8::1%eth0", "[::ffff:192.0.2.1]:80"} {
		if n := testing.AllocsPerRun(100, func() { Parse(remote) }); n != 0 {
			t.Errorf("%s: %v allocations", remote, n)
		}
	}
}
