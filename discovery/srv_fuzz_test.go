package discovery_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

// FuzzSRV: whatever the records are, what is yielded is a valid set in order
// in which no record has lost its share.
func FuzzSRV(f *testing.F) {
	f.Add([]byte("\x00\x50\x00\x01\x00\x02\x01"))
	f.Add([]byte("\x00\x50\x00\x01\x00\x02\x03\x00\x51\x00\x01\xff\xff\x07\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x50\x00\x01\xff\xff\xfb\x00\x50\x00\x01\xff\xff\xf1\x00\x50\x00\x01\xff\xff\xef"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var records []*net.SRV
		for b := range slices.Chunk(data[:len(data)/7*7], 7) {
			records = append(records, &net.SRV{
				Port: binary.BigEndian.Uint16(b), Priority: binary.BigEndian.Uint16(b[2:]), Weight: binary.BigEndian.Uint16(b[4:]),
				Target: fmt.Sprintf("t%d", b[6]),
			})
		}
		z := &zone{srv: func(string) ([]*net.SRV, error) { return records, nil }}
		z.v4 = func(_ context.Context, host string) ([]netip.Addr, error) {
			var n byte
			if _, err := fmt.Sscanf(host, "t%d", &n); err != nil {
				return nil, err
			}
			var out []netip.Addr
			for i := range n {
				out = append(out, netip.AddrFrom4([4]byte{10, 0, n % 8, i}))
			}
			return out, nil
		}
		for infos, err := range (discovery.DNS{Host: "x", SRV: true}).WithLookup(z).Watch(t.Context()) {
			usable := slices.ContainsFunc(records, func(r *net.SRV) bool { return r.Port != 0 && r.Target != "t0" })
			if (err == nil) != usable {
				t.Fatal(infos, err)
			}
			if err := discovery.Validate(infos); err != nil {
				t.Fatal(err)
			}
			if !slices.IsSortedFunc(infos, func(a, b endpoint.Info) int { return strings.Compare(a.Addr, b.Addr) }) {
				t.Fatal("not in order")
			}
			for _, info := range infos {
				if info.Weight == 0 {
					t.Fatal("a weight was lost:", info)
				}
			}
			break
		}
	})
}
