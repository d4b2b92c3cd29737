package tulle

import (
	"strings"

	"github.com/tulle-mesh/tulle/match"
)

// hosts returns the names by which callers reach the service.
func (s Service) hosts() []string {
	if len(s.Hosts) == 0 {
		return []string{s.Name}
	}
	return s.Hosts
}

// address returns what metrics call the service: the first of its names that
// is one host, and its port, 0 for any.
func (s Service) address() (host string, port int) {
	for _, pattern := range s.hosts() {
		if h, err := match.ParseHost(pattern); err == nil && !h.Wildcard {
			return h.Name, int(h.Port)
		}
	}
	return s.Name, 0
}

// isAt reports whether a call to one of the hosts may be one to the service.
func (s Service) isAt(hosts []match.Host) bool {
	for _, pattern := range s.hosts() {
		own, err := match.ParseHost(pattern)
		if err != nil {
			continue
		}
		for _, h := range hosts {
			if overlap(own, h) {
				return true
			}
		}
	}
	return false
}

// hosts returns the hosts that a route is for, or that it is for any.
func (r Route) hosts() (hosts []match.Host, anywhere bool) {
	for _, m := range r.Match {
		if len(m.Hosts) == 0 {
			return nil, true
		}
		for _, pattern := range m.Hosts {
			if h, err := match.ParseHost(pattern); err == nil {
				hosts = append(hosts, h)
			}
		}
	}
	return hosts, len(r.Match) == 0
}

// overlap reports whether there is a host that both patterns are for.
func overlap(a, b match.Host) bool {
	if a.Port != 0 && b.Port != 0 && a.Port != b.Port {
		return false
	}
	below := func(name string, pattern match.Host) bool {
		return pattern.Wildcard && strings.HasSuffix(name, "."+pattern.Name)
	}
	return a.Name == b.Name && a.Wildcard == b.Wildcard || below(a.Name, b) || below(b.Name, a)
}
