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
	if addr, ok := peer4(remoteAddr); ok {
		return addr, true
	}
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

// peer4 reads what nearly all addresses are, an IPv4 address with a port or
// without, in one pass. What it does not know may be an address all the same.
func peer4(s string) (addr netip.Addr, ok bool) {
	var parts [4]byte
	n, value, digits, i := 0, 0, 0, 0
	for ; i < len(s) && s[i] != ':'; i++ {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			if digits > 0 && value == 0 {
				return addr, false // no leading zeros
			}
			value, digits = 10*value+int(c-'0'), digits+1
			if value > 255 {
				return addr, false
			}
		case c == '.' && digits > 0 && n < 3:
			parts[n] = byte(value)
			n, value, digits = n+1, 0, 0
		default:
			return addr, false
		}
	}
	if n != 3 || digits == 0 {
		return addr, false
	}
	parts[3] = byte(value)
	for i++; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return addr, false
		}
	}
	return netip.AddrFrom4(parts), true
}
