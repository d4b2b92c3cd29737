package endpoint

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Info is what discovery knows about an endpoint. It is data: a resolver
// builds a new one for each change and never alters one that it has handed
// out.
type Info struct {
	// Addr is where the endpoint is dialled: "host:port", or "unix:" and the
	// path of a socket. The port is a number from 1 to 65535. Within a
	// service Addr is the endpoint's identity.
	Addr string
	// Weight is the endpoint's share of the traffic relative to the others.
	// Zero means 1.
	Weight uint32
	// Priority is the tier of the endpoint; 0 is preferred.
	Priority uint32
	// Region and Zone say where the endpoint runs, from wide to narrow.
	Region, Zone string
	// Labels are what subsets are chosen by, such as "version": "v2".
	Labels map[string]string
	// NotReady says that discovery knows the endpoint but that it should not
	// be given new calls: it is starting, failing its readiness check, or
	// being taken away.
	NotReady bool
}

// Validate reports every fault of the Info, each with the name of its field.
func (i Info) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	network, addr := i.Network()
	switch host, port, err := net.SplitHostPort(addr); {
	case unprintable(addr):
		fault("addr: %q has characters that no address has", i.Addr)
	case network == "unix" && addr == "":
		fault("addr: a unix socket needs a path")
	case network == "unix":
	case err != nil:
		fault("addr: %q is neither host:port nor unix:path", i.Addr)
	default:
		if host == "" {
			fault("addr: %q has no host", i.Addr)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			fault("addr: %q has no port from 1 to 65535", i.Addr)
		}
	}
	if _, ok := i.Labels[""]; ok {
		fault("labels: a label has no name")
	}
	return errors.Join(errs...)
}

// unprintable reports what would break an address apart in a log or a header.
// A path may hold spaces, a host may not, but that the resolver finds out.
func unprintable(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)
}

// Equal reports whether both say the same.
func (i Info) Equal(o Info) bool {
	return i.Addr == o.Addr && i.Weight == o.Weight && i.Priority == o.Priority &&
		i.Region == o.Region && i.Zone == o.Zone && i.NotReady == o.NotReady &&
		maps.Equal(i.Labels, o.Labels)
}

// Network returns the network and address to dial: "unix" and a path, or
// "tcp" and host:port.
func (i Info) Network() (network, addr string) {
	if path, ok := strings.CutPrefix(i.Addr, "unix:"); ok {
		return "unix", path
	}
	return "tcp", i.Addr
}

// Has reports whether the endpoint has all the given labels.
func (i Info) Has(labels map[string]string) bool {
	for k, v := range labels {
		if got, ok := i.Labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}
