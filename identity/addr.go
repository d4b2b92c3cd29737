package identity

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// PeerAddr returns the address in remoteAddr, which has the form of
// [net/http.Request.RemoteAddr]: "192.0.2.1:1234", "[2001:db8::1]:1234", or an
// address alone. IPv4-mapped IPv6 addresses are unmapped and zones dropped. It
// reports false when there is no IP address, as with unix sockets. It does not
// allocate.
func PeerAddr(remoteAddr string) (netip.Addr, bool) {
	addr, ok := netip.Addr{}, false
	if strings.HasPrefix(remoteAddr, "[") {
		addr, ok = peer6(remoteAddr)
	} else {
		addr, ok = peer4(remoteAddr)
	}
	if ok {
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

// peer6 reads an IPv6 address in brackets, with a port or without, in one pass.
// What it does not know, such as a zone, may be an address all the same.
func peer6(s string) (addr netip.Addr, ok bool) {
	// Groups are shifted in from the right. At "::" those before it are put
	// aside.
	var now, head uint128
	n, before, i := 0, -1, 1
	if len(s) > 2 && s[1] == ':' && s[2] == ':' {
		before, i = 0, 3
	}
	for {
		start, group := i, uint64(0)
		for ; i < len(s); i++ {
			d := int(s[i]) - '0'
			if uint(d) >= uint(len(hexDigits)) || hexDigits[d] > 15 {
				break
			}
			group = group<<4 | uint64(hexDigits[d])
		}
		if i == len(s) || i-start > 4 {
			return addr, false
		}
		if i > start {
			now, n = now.shift(group), n+1
		} else if s[i] != ']' || before != n {
			return addr, false // only "::" may be without a group behind it
		}
		if s[i] == ']' {
			break
		}
		if s[i] != ':' || n > 7 {
			return addr, false
		}
		if i++; i < len(s) && s[i] == ':' && before < 0 {
			head, before, now, i = now, n, uint128{}, i+1
		}
	}
	switch {
	case before < 0 && n != 8, before >= 0 && n > 7:
		return addr, false
	case before >= 4:
		now.hi |= head.hi<<(16*(8-before)) | head.lo>>(16*(before-4))
		now.lo |= head.lo << (16 * (8 - before))
	case before >= 0:
		now.hi |= head.lo << (16 * (4 - before))
	}
	if i++; i < len(s) && s[i] != ':' {
		return addr, false
	}
	for i++; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return addr, false
		}
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], now.hi)
	binary.BigEndian.PutUint64(b[8:], now.lo)
	if now.hi == 0 && now.lo>>32 == 0xffff {
		return netip.AddrFrom4([4]byte(b[12:])), true
	}
	return netip.AddrFrom16(b), true
}

type uint128 struct{ hi, lo uint64 }

// shift appends a group of 16 bits.
func (u uint128) shift(group uint64) uint128 {
	return uint128{u.hi<<16 | u.lo>>48, u.lo<<16 | group}
}

// hexDigits has the value of each digit from '0' to 'f', "." for what is none.
const hexDigits = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09......." + "\x0a\x0b\x0c\x0d\x0e\x0f" +
	".........................." + "\x0a\x0b\x0c\x0d\x0e\x0f"
