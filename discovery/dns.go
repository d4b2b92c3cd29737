package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tulle-mesh/tulle/endpoint"
)

const (
	dnsInterval = 5 * time.Second
	dnsTimeout  = 5 * time.Second
)

// DNS is a Resolver that asks for the addresses of a name, again and again.
//
// Names that are not found, answers without an address, failing servers and
// time-outs are errors, so that what was known stays in use; only an SRV
// record with the target "." says that there is no endpoint. After an error
// DNS asks again within a second, and then ever more seldom, at least every
// 30 seconds or every Interval, whichever is longer. An error is told once,
// and again when it has become another. The same addresses in another order
// are no change.
//
// The time to live of records is not known to it, since net.Resolver does
// not tell it; what a caching server in between remembers is seen when that
// has forgotten it. Search domains, CNAME records and answers that need TCP
// are matters of net.Resolver. A Host that ends with a dot is not tried with
// search domains, which in a Kubernetes pod saves most of the queries.
//
// Each endpoint is one address. A name that stands for a virtual address, as
// that of an ordinary Kubernetes service does, gives one endpoint, behind
// which something else balances connections rather than calls: ask for a
// name that lists the endpoints, such as that of a headless service.
type DNS struct {
	// Host is the name to look up; with SRV the whole name of the records,
	// such as "_http._tcp.reviews.example". It is required.
	Host string
	// Port is that of every endpoint. It is required without SRV; with SRV
	// it must be 0, since the records have ports.
	Port uint16
	// SRV asks for SRV records and the addresses of their targets. Priority
	// and weight are those of the record; a target with several addresses
	// shares its weight among them, for which all weights of the set are
	// multiplied by the same number. The weight 0 counts as 1. A target that
	// is not found is left out as long as another is found.
	SRV bool
	// Family says which of the addresses of a host with several kinds are
	// used. The zero value is PreferIPv4.
	Family Family
	// Interval is the time between two look-ups, give or take a fifth. Zero
	// means 5 seconds.
	Interval time.Duration
	// Timeout is how long one look-up may take, that of SRV targets
	// included. Zero means 5 seconds.
	Timeout time.Duration
	// Resolver looks up. Nil means net.DefaultResolver.
	Resolver *net.Resolver
	// Logger is warned, once in a watch, when Host has a single address,
	// which may be a virtual one. Nil means that nobody is.
	Logger *slog.Logger

	// lookup stands in for Resolver in tests.
	lookup lookup
}

// Family says which IP addresses of a host become endpoints. A host that has
// an IPv4 and an IPv6 address is one host: if both were endpoints it would
// count twice in every policy, and half of the endpoints would fail where
// one of the protocols leads nowhere.
type Family uint8

const (
	// PreferIPv4 takes IPv4 addresses, or IPv6 if the name has no other.
	PreferIPv4 Family = iota
	// PreferIPv6 takes IPv6 addresses, or IPv4 if the name has no other.
	PreferIPv6
	// RequireIPv4 takes IPv4 addresses only.
	RequireIPv4
	// RequireIPv6 takes IPv6 addresses only.
	RequireIPv6
	// BothFamilies takes all addresses. It is for names that list hosts each
	// of which has one address.
	BothFamilies
)

// lookup is what DNS asks of net.Resolver.
type lookup interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Validate reports every fault of the configuration. It looks up nothing.
func (d DNS) Validate() error {
	var errs []error
	_, literal := netip.ParseAddr(d.Host)
	switch {
	case d.Host == "":
		errs = append(errs, errors.New("host: is required"))
	case literal != nil && strings.ContainsFunc(d.Host, noHost):
		errs = append(errs, fmt.Errorf("host: %q is no name of a host", d.Host))
	}
	switch {
	case d.SRV && d.Port != 0:
		errs = append(errs, fmt.Errorf("port: %d, but SRV records have ports of their own", d.Port))
	case !d.SRV && d.Port == 0:
		errs = append(errs, errors.New("port: is required without SRV"))
	}
	if d.Family > BothFamilies {
		errs = append(errs, fmt.Errorf("family: %d is none", d.Family))
	}
	errs = append(errs, interval("interval", d.Interval), interval("timeout", d.Timeout))
	return errors.Join(errs...)
}

func noHost(r rune) bool {
	return strings.ContainsRune(":/[]@?#", r) || unicode.IsSpace(r) || unicode.IsControl(r)
}

// Watch implements Resolver.
func (d DNS) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		warned := d.Logger == nil || d.SRV
		poll{interval: cmp.Or(d.Interval, dnsInterval), look: func(ctx context.Context) ([]endpoint.Info, error) {
			infos, err := d.look(ctx)
			if len(infos) == 1 && !warned {
				warned = true
				d.Logger.Warn("name has a single address: if it is a virtual one, calls are not balanced",
					"host", d.Host, "addr", infos[0].Addr)
			}
			return infos, err
		}}.run(ctx, yield)
	}
}

func (d DNS) look(ctx context.Context) ([]endpoint.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.Timeout, dnsTimeout))
	defer cancel()
	if d.SRV {
		return d.lookSRV(ctx)
	}
	addrs, err := d.addrs(ctx, d.Host)
	if err != nil {
		return nil, err
	}
	infos := make([]endpoint.Info, len(addrs))
	for i, addr := range addrs {
		infos[i].Addr = netip.AddrPortFrom(addr, d.Port).String()
	}
	return inOrder(infos), nil
}

// addrs returns the addresses of host, at least one, each once.
func (d DNS) addrs(ctx context.Context, host string) ([]netip.Addr, error) {
	switch d.Family {
	case PreferIPv6:
		return d.preferred(ctx, host, "ip6", "ip4")
	case RequireIPv4:
		return d.preferred(ctx, host, "ip4")
	case RequireIPv6:
		return d.preferred(ctx, host, "ip6")
	case BothFamilies:
		v4, err := d.preferred(ctx, host, "ip4")
		if err != nil && !notFound(err) {
			return nil, err
		}
		v6, err6 := d.preferred(ctx, host, "ip6")
		if err6 != nil && !(err == nil && notFound(err6)) {
			// Half an answer would halve the set.
			if err == nil || !notFound(err6) {
				return nil, err6
			}
			return nil, err
		}
		return append(v4, v6...), nil
	default:
		return d.preferred(ctx, host, "ip4", "ip6")
	}
}

// preferred returns the addresses of the first kind of which host has any.
// That a kind could not be asked for does not mean that there is none.
func (d DNS) preferred(ctx context.Context, host string, kinds ...string) ([]netip.Addr, error) {
	var none error
	for _, kind := range kinds {
		addrs, err := d.source().LookupNetIP(ctx, kind, host)
		if err == nil && len(addrs) == 0 {
			err = &net.DNSError{Err: "no address in the answer", Name: host, IsNotFound: true}
		}
		if err == nil {
			return distinct(addrs), nil
		}
		if !notFound(err) {
			return nil, err
		}
		none = cmp.Or(none, err)
	}
	return nil, none
}

func (d DNS) source() lookup {
	switch {
	case d.lookup != nil:
		return d.lookup
	case d.Resolver != nil:
		return d.Resolver
	}
	return net.DefaultResolver
}

func notFound(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && e.IsNotFound
}

// distinct returns addrs each once, in an order that does not depend on
// theirs. It does not change addrs.
func distinct(addrs []netip.Addr) []netip.Addr {
	addrs = slices.Clone(addrs)
	for i, addr := range addrs {
		addrs[i] = addr.Unmap()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

// inOrder sorts infos by their addresses.
func inOrder(infos []endpoint.Info) []endpoint.Info {
	slices.SortFunc(infos, func(a, b endpoint.Info) int { return cmp.Compare(a.Addr, b.Addr) })
	return infos
}
