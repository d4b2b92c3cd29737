package identity

import (
	"net/netip"
	"strings"
)

// PeerAddr returns the address in remoteAddr, which has the form of
// [net/http.Request.RemoteAddr]: "192.0.2.1:1234", "[2001:db8::1]:1234", or an
// address alone. IPv4-mapped IPv6 addresses are unmapped and zones dropped. It
// reports false when there is no IP address, as with unix sockets. It does not
// allocate.
func PeerAddr(remoteAddr string) (netip.Addr, bool) {
	host, port := remoteAddr, ""
	if rest, ok := strings.CutPrefix(host, "["); ok {
		if host, port, ok = strings.Cut(rest, "]"); !ok || port != "" && port[0] != ':' {
			return netip.Addr{}, false
		}
	} else if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host, ':') == i {
		host, port = host[:i], host[i:]
	}
	for i := 1; i < len(port); i++ {
		if port[i] < '0' || port[i] > '9' {
			return netip.Addr{}, false
		}
	}
	// Zones are cut before parsing: netip would intern them.
	host, _, _ = strings.Cut(host, "%")
	if len(host) > len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255") {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}
