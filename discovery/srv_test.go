package discovery_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

func TestSRV(t *testing.T) {
	hosts := map[string]func(context.Context, string) ([]netip.Addr, error){
		"one": at("10.0.0.1"), "two": at("10.0.0.2"), "three": at("10.0.1.1", "10.0.1.2", "10.0.1.3"),
		"pair": at("10.0.2.1", "10.0.2.2"), "gone": nowhere, "broken": failing, "also-one": at("10.0.0.1"),
	}
	cases := []struct {
		name    string
		records []net.SRV
		want    []endpoint.Info
		fails   string // in the text of the error
	}{
		{
			name:    "priority, weight, port",
			records: []net.SRV{{Target: "two", Port: 81, Priority: 20, Weight: 5}, {Target: "one", Port: 80, Priority: 10, Weight: 65535}},
			want:    []endpoint.Info{{Addr: "10.0.0.1:80", Priority: 10, Weight: 65535}, {Addr: "10.0.0.2:81", Priority: 20, Weight: 5}},
		},
		{
			name:    "a target with several addresses gets no more than its weight",
			records: []net.SRV{{Target: "one", Port: 80, Weight: 1}, {Target: "three", Port: 80, Weight: 1}, {Target: "pair", Port: 80, Weight: 2}},
			want: []endpoint.Info{
				{Addr: "10.0.0.1:80", Weight: 6}, {Addr: "10.0.1.1:80", Weight: 2}, {Addr: "10.0.1.2:80", Weight: 2},
				{Addr: "10.0.1.3:80", Weight: 2}, {Addr: "10.0.2.1:80", Weight: 6}, {Addr: "10.0.2.2:80", Weight: 6},
			},
		},
		{
			name:    "weight 0",
			records: []net.SRV{{Target: "one", Port: 80}, {Target: "two", Port: 80, Weight: 9}},
			want:    []endpoint.Info{{Addr: "10.0.0.1:80", Weight: 1}, {Addr: "10.0.0.2:80", Weight: 9}},
		},
		{
			name:    "an address twice",
			records: []net.SRV{{Target: "also-one", Port: 80, Priority: 2, Weight: 7}, {Target: "one", Port: 80, Priority: 1, Weight: 1}},
			want:    []endpoint.Info{{Addr: "10.0.0.1:80", Priority: 1, Weight: 1}},
		},
		{
			name:    "two ports of one target",
			records: []net.SRV{{Target: "one", Port: 81, Weight: 1}, {Target: "one", Port: 80, Weight: 1}},
			want:    []endpoint.Info{{Addr: "10.0.0.1:80", Weight: 1}, {Addr: "10.0.0.1:81", Weight: 1}},
		},
		{
			name:    "a target that is not found",
			records: []net.SRV{{Target: "one", Port: 80, Weight: 1}, {Target: "gone", Port: 80, Weight: 1}},
			want:    []endpoint.Info{{Addr: "10.0.0.1:80", Weight: 1}},
		},
		{name: "decidedly not available", records: []net.SRV{{Target: "."}}, want: []endpoint.Info{}},
		{name: "no target is found", records: []net.SRV{{Target: "gone", Port: 80}}, fails: "no such host"},
		{name: "no target has a port", records: []net.SRV{{Target: "one"}}, fails: "port 0"},
		{name: "a target cannot be looked up", records: []net.SRV{{Target: "one", Port: 80}, {Target: "broken", Port: 80}}, fails: "misbehaving"},
		{name: "no record", fails: "no SRV record"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				z := &zone{v4: func(ctx context.Context, host string) ([]netip.Addr, error) { return hosts[host](ctx, host) }}
				z.srv = func(string) (out []*net.SRV, _ error) {
					for _, r := range c.records {
						out = append(out, &r)
					}
					return out, nil
				}
				for infos, err := range (discovery.DNS{Host: "_http._tcp.x", SRV: true}).WithLookup(z).Watch(t.Context()) {
					if c.fails != "" {
						if err == nil || !strings.Contains(err.Error(), c.fails) {
							t.Errorf("%v, %v", infos, err)
						}
					} else if err != nil || infos == nil || !same(infos, c.want) {
						t.Errorf("%+v, %v\nwant %+v", infos, err, c.want)
					}
					break
				}
			})
		})
	}
}

// Weights stay in proportion where no number divides evenly.
func TestSRVWeightsDoNotOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sizes := []int{1, 41, 43, 47}
		z := &zone{srv: func(string) (out []*net.SRV, _ error) {
			for i := range sizes {
				out = append(out, &net.SRV{Target: fmt.Sprint(i), Port: 80, Weight: 65535})
			}
			return out, nil
		}}
		z.v4 = func(_ context.Context, host string) (out []netip.Addr, _ error) {
			var n byte
			if _, err := fmt.Sscan(host, &n); err != nil {
				return nil, err
			}
			for i := range sizes[n] {
				out = append(out, netip.AddrFrom4([4]byte{10, 0, n, byte(i)}))
			}
			return out, nil
		}
		sums := map[string]float64{}
		for _, info := range first(t, discovery.DNS{Host: "x", SRV: true}.WithLookup(z)) {
			sums[info.Addr[:6]] += float64(info.Weight)
		}
		for target, sum := range sums {
			if share := sum / sums["10.0.0"]; share < 0.999 || share > 1.001 {
				t.Errorf("%s has %v of the weight of a target of equal weight", target, share)
			}
		}
	})
}

// Many targets are looked up a few at once, and each once.
func TestSRVManyTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var records []*net.SRV
		for i := range 500 {
			records = append(records, &net.SRV{Target: fmt.Sprint(i % 250), Port: uint16(80 + i/250), Weight: 1})
		}
		z := &zone{srv: func(string) ([]*net.SRV, error) { return records, nil }}
		z.v4 = func(_ context.Context, host string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("10.0.0." + host)}, nil
		}
		if infos := first(t, discovery.DNS{Host: "x", SRV: true}.WithLookup(z)); len(infos) != 500 || len(z.asked) != 250 {
			t.Errorf("%d endpoints, %d look-ups", len(infos), len(z.asked))
		}
	})
}
