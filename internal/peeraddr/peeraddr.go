// Package peeraddr reads the address of a peer out of what
// [net/http.Request.RemoteAddr] holds. That is done for every request, so what
// a server of net/http puts there is read in one pass, into two words: to go
// through a [netip.Addr] costs half as much again.
package peeraddr

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// Bits are an address, the most significant bits first. Those of IPv4 are in
// their IPv6 form, ::ffff:0:0/96, where nothing else is.
type Bits struct{ Hi, Lo uint64 }

// mapped is what the upper half of Lo is where Hi is 0 and the address is one
// of IPv4.
const mapped = 0xffff

// Is4 reports whether the address is one of IPv4, which is then the lower half
// of Lo.
func (b Bits) Is4() bool { return b.Hi == 0 && b.Lo>>32 == mapped }

// Parse returns the address in remoteAddr, which is "192.0.2.1:1234",
// "[2001:db8::1]:1234", or an address alone. Zones are dropped. It reports
// false when there is no IP address. It does not allocate.
func Parse(remoteAddr string) (Bits, bool) {
	if rest, ok := strings.CutPrefix(remoteAddr, "["); ok {
		if b, ok := parse6(rest); ok {
			return b, true
		}
	} else if b, ok := parse4(remoteAddr); ok {
		return b, true
	}
	return parseAny(remoteAddr)
}

// parseAny is Parse for all forms there are.
func parseAny(s string) (b Bits, ok bool) {
	host, port := s, ""
	if rest, ok := strings.CutPrefix(s, "["); ok {
		if host, port, ok = strings.Cut(rest, "]"); !ok || port != "" && port[0] != ':' {
			return b, false
		}
	} else if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.IndexByte(s, ':') == i {
		host, port = s[:i], s[i:]
	}
	if port != "" && !digits(port[1:]) {
		return b, false
	}
	// Zones are cut before parsing: netip would intern them.
	host, _, _ = strings.Cut(host, "%")
	if len(host) > len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255") {
		return b, false
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return b, false
	}
	a := addr.As16()
	return Bits{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}, true
}

// parse4 reads what nearly all addresses are, an IPv4 address with a port or
// without. What it does not know may be an address all the same.
func parse4(s string) (b Bits, ok bool) {
	addr := uint64(mapped)
	n, value, count, i := 0, uint64(0), 0, 0
	for ; i < len(s) && s[i] != ':'; i++ {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			if count > 0 && value == 0 {
				return b, false // no leading zeros
			}
			value, count = 10*value+uint64(c-'0'), count+1
			if value > 255 {
				return b, false
			}
		case c == '.' && count > 0 && n < 3:
			addr = addr<<8 | value
			n, value, count = n+1, 0, 0
		default:
			return b, false
		}
	}
	if n != 3 || count == 0 || i < len(s) && !digits(s[i+1:]) {
		return b, false
	}
	return Bits{Lo: addr<<8 | value}, true
}

// parse6 reads an IPv6 address with a port, behind the bracket that opens it.
// What it does not know, such as an address without a port, may be one all the
// same.
func parse6(s string) (b Bits, ok bool) {
	b, n, end, s := groups(s)
	if end == ':' && s != "" && s[0] == ':' {
		tail, m, last, rest := groups(s[1:])
		if n+m > 7 {
			return b, false
		}
		b = b.shift(16 * uint(8-n))
		b.Hi |= tail.Hi
		b.Lo |= tail.Lo
		n, end, s = 8, last, rest
	}
	if end == '%' {
		if _, after, ok := strings.Cut(s, "]"); ok {
			end, s = ']', after
		}
	}
	if n != 8 || end != ']' || s == "" || s[0] != ':' || !digits(s[1:]) {
		return b, false
	}
	return b, true
}

// shift moves all bits to the left by n.
func (b Bits) shift(n uint) Bits {
	// A shift by 64 and more, which one by less than 0 is, leaves nothing.
	return Bits{b.Hi<<n | b.Lo<<(n-64) | b.Lo>>(64-n), b.Lo << n}
}

// groups reads groups of hexadecimal digits with a colon between each two. It
// returns them in the lowest bits, how many they are, what has ended them, and
// what follows that. At "::" it ends with the first colon, at a colon behind
// which there is nothing else that belongs to an address too.
func groups(s string) (b Bits, n int, end byte, rest string) {
	// Four digits, what ends them, and one more: so nothing that is cut off
	// below needs to be checked. Where a port follows, it has three digits.
	for len(s) >= 6 {
		group := uint64(hexDigits[s[0]])
		if group > 15 {
			if n == 0 {
				end, s = s[0], s[1:]
			}
			break
		}
		if d2 := hexDigits[s[1]]; d2 > 15 {
			end, s = s[1], s[2:]
		} else if d3 := hexDigits[s[2]]; d3 > 15 {
			group = group<<4 | uint64(d2)
			end, s = s[2], s[3:]
		} else if d4 := hexDigits[s[3]]; d4 > 15 {
			group = group<<8 | uint64(d2)<<4 | uint64(d3)
			end, s = s[3], s[4:]
		} else {
			group = group<<12 | uint64(d2)<<8 | uint64(d3)<<4 | uint64(d4)
			end, s = s[4], s[5:]
		}
		b.Hi, b.Lo = b.Hi<<16|b.Lo>>48, b.Lo<<16|group
		n++
		if end != ':' {
			break
		}
	}
	return b, n, end, s
}

// digits reports whether there is nothing but digits in s.
func digits(s string) bool {
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return true
}

// hexDigits has, for every byte, its value as a hexadecimal digit, more than 15
// where it is none.
const hexDigits = none + none + none +
	"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09......" +
	letters + none + letters + none +
	none + none + none + none + none + none + none + none

const (
	letters = ".\x0a\x0b\x0c\x0d\x0e\x0f........."
	none    = "................"
)
