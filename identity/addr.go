package identity

import (
	"encoding/binary"
	"net/netip"

	"github.com/tulle-mesh/tulle/internal/peeraddr"
)

// PeerAddr returns the address in remoteAddr, which has the form of
// [net/http.Request.RemoteAddr]: "192.0.2.1:1234", "[2001:db8::1]:1234", or an
// address alone. IPv4-mapped IPv6 addresses are unmapped and zones dropped. It
// reports false when there is no IP address, as with unix sockets. It does not
// allocate.
func PeerAddr(remoteAddr string) (netip.Addr, bool) {
	bits, ok := peeraddr.Parse(remoteAddr)
	if !ok {
		return netip.Addr{}, false
	}
	if bits.Is4() {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(bits.Lo))
		return netip.AddrFrom4(b), true
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], bits.Hi)
	binary.BigEndian.PutUint64(b[8:], bits.Lo)
	return netip.AddrFrom16(b), true
}
