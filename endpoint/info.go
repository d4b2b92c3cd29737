package endpoint

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
)

// Info is what discovery knows about an endpoint. It is data: a resolver
// builds a new one for each change and never alters one that it has handed
// out.
type Info struct {
	// Addr is where the endpoint is dialled: "host:port", or "unix:" and the
	// path of a socket. Within a service it is the endpoint's identity.
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

// Validate reports every fault of the Info.
func (i Info) Validate() error {
	var errs []error
	if path, ok := strings.CutPrefix(i.Addr, "unix:"); ok {
		if path == "" {
			errs = append(errs, errors.New("addr: a unix socket needs a path"))
		}
	} else if host, port, err := net.SplitHostPort(i.Addr); err != nil {
		errs = append(errs, fmt.Errorf("addr: %q is neither host:port nor unix:path", i.Addr))
	} else {
		if host == "" {
			errs = append(errs, fmt.Errorf("addr: %q has no host", i.Addr))
		}
		if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
			errs = append(errs, fmt.Errorf("addr: %q has no valid port", i.Addr))
		}
	}
	return errors.Join(errs...)
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
