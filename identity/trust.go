package identity

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Trust says whose hints are honoured: a peer is trusted when its address lies
// in one of Networks or its certificate carries one of Principals. The zero
// Trust trusts loopback addresses only; setting either field replaces that
// default, so loopback must then be listed to stay trusted.
//
// A Trust is read only; its methods are safe for concurrent use.
type Trust struct {
	// Networks are prefixes of peer addresses, such as 10.0.0.0/8. A prefix of
	// IPv4-mapped IPv6 addresses of at least 96 bits counts as the IPv4 prefix.
	Networks []netip.Prefix
	// Principals are names of certificate principals, compared whole and
	// byte by byte: "spiffe://td/ns/x" trusts neither "spiffe://td/ns/x/y" nor
	// "spiffe://td.evil/ns/x". A token names whom a call is made for, not who
	// wrote its headers, so principals of other kinds are never trusted.
	Principals []string
}

// Trusts reports whether the hints of the peer with address addr and verified
// principal p are honoured. An IPv4-mapped IPv6 address counts as the IPv4
// address and zones are ignored. An invalid address, such as that of a unix
// socket's peer, is in no network; the zero Principal has no name.
func (t Trust) Trusts(addr netip.Addr, p Principal) bool {
	addr = addr.Unmap().WithZone("")
	if len(t.Networks) == 0 && len(t.Principals) == 0 {
		return addr.IsLoopback()
	}
	for _, network := range t.Networks {
		if unmap(network).Contains(addr) {
			return true
		}
	}
	return p.Kind == Certificate && p.Name != "" && slices.Contains(t.Principals, p.Name)
}

// Validate reports every fault of t, each with its path.
func (t Trust) Validate() error {
	var faults []error
	for i, network := range t.Networks {
		switch {
		case !network.IsValid():
			faults = append(faults, fmt.Errorf("networks[%d]: invalid prefix", i))
		case network.Addr().Is4In6() && network.Bits() < 96:
			faults = append(faults, fmt.Errorf("networks[%d]: %v mixes IPv4 and IPv6 addresses; list them apart", i, network))
		case network != network.Masked():
			faults = append(faults, fmt.Errorf("networks[%d]: %v has host bits set; write %v", i, network, network.Masked()))
		}
	}
	for i, name := range t.Principals {
		switch {
		case name == "":
			faults = append(faults, fmt.Errorf("principals[%d]: empty name", i))
		case slices.Contains(t.Principals[:i], name):
			faults = append(faults, fmt.Errorf("principals[%d]: %q is listed twice", i, name))
		}
	}
	return errors.Join(faults...)
}

// unmap returns the IPv4 prefix that a prefix of IPv4-mapped addresses means.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}
