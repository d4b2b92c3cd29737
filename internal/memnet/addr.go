package memnet

import (
	"net"
	"net/netip"
)

// name is the address of a listener that is called by a name, as "reviews:80".
// Addresses of numbers are *net.TCPAddr.
type name string

func (name) Network() string  { return "tcp" }
func (n name) String() string { return string(n) }

func parseAddr(addr string) net.Addr {
	if ap, err := netip.ParseAddrPort(addr); err == nil {
		return net.TCPAddrFromAddrPort(ap)
	}
	return name(addr)
}
