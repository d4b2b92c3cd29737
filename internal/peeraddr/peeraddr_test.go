package peeraddr

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// random returns an address of IPv6 in which there are groups that are zero, and
// groups of all lengths.
func random(rnd *rand.Rand) netip.Addr {
	var b [16]byte
	for i := range 8 {
		if rnd.IntN(3) > 0 {
			binary.BigEndian.PutUint16(b[2*i:], uint16(rnd.Uint32()>>(16+4*rnd.IntN(4))))
		}
	}
	if rnd.IntN(8) == 0 { // IPv4, or like it
		copy(b[8+rnd.IntN(4):], "\x00\x00\xff\xff")
		copy(b[:], make([]byte, 7+rnd.IntN(4)))
	}
	return netip.AddrFrom16(b)
}

// spell writes an address in one of the many ways there are (RFC 4291, section
// 2.2): with zeros in front, in both cases, any run of zero groups as "::" or
// none, the last two groups as those of IPv4, and a zone.
func spell(addr netip.Addr, rnd *rand.Rand) string {
	b := addr.As16()
	groups := make([]string, 8)
	for i := range groups {
		groups[i] = fmt.Sprintf("%0*x", 1+rnd.IntN(4), binary.BigEndian.Uint16(b[2*i:]))
		if rnd.IntN(2) == 0 {
			groups[i] = strings.ToUpper(groups[i])
		}
	}
	if rnd.IntN(4) == 0 {
		groups = append(groups[:6], netip.AddrFrom4([4]byte(b[12:])).String())
	}
	s := strings.Join(groups, ":")
	// A run of zeros, from a group by chance on.
	from := rnd.IntN(8)
	to := from
	for to < len(groups) && strings.Trim(groups[to], "0") == "" {
		to++
	}
	if from < to && rnd.IntN(4) > 0 {
		s = strings.Join(groups[:from], ":") + "::" + strings.Join(groups[to:], ":")
	}
	return s + []string{"", "", "%eth0", "%1"}[rnd.IntN(4)]
}

func bits(addr netip.Addr) Bits {
	b := addr.As16()
	return Bits{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func port(rnd *rand.Rand) string {
	return []string{"", ":", ":0", ":80", ":443", ":65535", ":" + strconv.Itoa(rnd.IntN(1<<16))}[rnd.IntN(7)]
}

// However an address is spelled, it is the same one.
func TestSpellings(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		addr := random(rnd)
		s := "[" + spell(addr, rnd) + "]" + port(rnd)
		if got, ok := Parse(s); !ok || got != bits(addr) || got.Is4() != addr.Is4In6() {
			t.Fatalf("%s: %x, %t; it is %v", s, got, ok, addr)
		}
		if got, ok := Parse(s[1:strings.IndexByte(s, ']')]); !ok || got != bits(addr) {
			t.Fatalf("%s without brackets: %x, %t; it is %v", s, got, ok, addr)
		}
	}
}

// What is like an address but for some bytes is what netip takes it for.
func TestFaults(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var addresses, others int
	for range 50_000 {
		addr := random(rnd)
		b := []byte("[" + spell(addr, rnd) + "]" + port(rnd))
		if a := addr.As16(); rnd.IntN(3) == 0 {
			b = []byte(netip.AddrFrom4([4]byte(a[12:])).String() + port(rnd))
		}
		for range 1 + rnd.IntN(3) {
			i := rnd.IntN(len(b))
			switch c := "0256f:]%.[gG/@`\x00\xff"[rnd.IntN(17)]; rnd.IntN(3) {
			case 0:
				b[i] = c
			case 1:
				b = append(b[:i], b[i+1:]...)
			case 2:
				b = append(b[:i], append([]byte{c}, b[i:]...)...)
			}
		}
		s := string(b)
		got, ok := Parse(s)
		want, is := parseAny(s)
		if got != want || ok != is {
			t.Fatalf("%q: %x, %t; want %x, %t", s, got, ok, want, is)
		}
		if ok {
			addresses++
		} else {
			others++
		}
	}
	assert.Greater(t, addresses, 5_000)
	assert.Greater(t, others, 5_000)
}

// Each part of an address of IPv4 goes up to 255, without zeros in front.
func TestIPv4(t *testing.T) {
	for _, form := range []string{"%s.0.2.1", "192.%s.2.1", "192.0.%s.1", "192.0.2.%s"} {
		for n := range 1100 {
			for _, part := range []string{strconv.Itoa(n), "0" + strconv.Itoa(n)} {
				s := fmt.Sprintf(form, part)
				got, ok := Parse(s + ":80")
				addr, err := netip.ParseAddr(s)
				if ok != (err == nil) || ok && (got != bits(addr) || !got.Is4()) {
					t.Errorf("%s: %x, %t; netip says %v", s, got, ok, err)
				}
			}
		}
	}
	// What differs in a bit from ::ffff:0:0/96 is not of IPv4.
	is4 := bits(netip.MustParseAddr("192.0.2.1"))
	for bit := range 64 {
		assert.False(t, Bits{is4.Hi ^ 1<<bit, is4.Lo}.Is4(), bit)
		assert.Equal(t, bit < 32, Bits{is4.Hi, is4.Lo ^ 1<<bit}.Is4(), bit)
	}
}

// A byte that is no digit is none in any place of a group.
func TestDigits(t *testing.T) {
	assert.Len(t, hexDigits, 256, "a digit for each byte")
	for c := range 256 {
		b := string([]byte{byte(c)})
		value, err := strconv.ParseUint(b, 16, 8)
		assert.Equal(t, err == nil, hexDigits[c] <= 15, "%q", b)
		if err == nil {
			assert.EqualValues(t, value, hexDigits[c], "%q", b)
		}
		for _, form := range []string{"%s::", "1%s::", "12%s::", "123%s::", "::%s", "::1%s", "::12%s", "::123%s"} {
			s := "[" + fmt.Sprintf(form, b) + "]:12345"
			got, ok := Parse(s)
			want, is := parseAny(s)
			if got != want || ok != is {
				t.Errorf("%q: %x, %t; want %x, %t", s, got, ok, want, is)
			}
		}
		_, err = strconv.ParseUint(b, 10, 8)
		assert.Equal(t, err == nil, digits(b), "%q", b)
	}
}

// What a server of net/http has as RemoteAddr is read in one pass.
func TestOnePass(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 10_000 {
		addr := random(rnd)
		s := netip.AddrPortFrom(addr.Unmap(), uint16(1024+rnd.IntN(1<<16-1024))).String()
		var got Bits
		var ok bool
		if rest, is6 := strings.CutPrefix(s, "["); is6 {
			got, ok = parse6(rest)
		} else {
			got, ok = parse4(s)
		}
		if !ok || got != bits(addr) {
			t.Fatalf("%s: %x, %t", s, got, ok)
		}
	}
	_, ok := parse6("fe80::1ff:fe23:4567:890a%eth0]:1234")
	assert.True(t, ok, "a zone")
}
