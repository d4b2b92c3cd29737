package peeraddr

import "testing"

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, remote string }{
		{"IPv4", "192.0.2.1:1234"},
		{"IPv6", "[2001:db8:85a3::8a2e:370:7334]:1234"},
		{"Whole", "[2001:db8:85a3:8d3:1319:8a2e:7370:7334]:51234"},
		{"Zone", "[fe80::1ff:fe23:4567:890a%eth0]:51234"},
		{"NoPort", "2001:db8:85a3::8a2e:370:7334"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Parse(c.remote)
			}
		})
	}
}
