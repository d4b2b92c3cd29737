package tulle

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/routing"
)

// Validate reports every fault of the Config at once, each with its path,
// such as
//
//	routes[2] (checkout): retry.perTry: 3s exceeds timeout 2s
//
// New and Apply refuse a Config with a fault.
func (c Config) Validate() error {
	var f faults
	c.Policies.validate(f.at("policies"))
	if r := c.RefuseUnknownHosts; r != nil && r.Mode > outcome.Observe {
		f.add("refuseUnknownHosts.mode: %d is neither Enforce nor Observe", r.Mode)
	}
	c.Inbound.validate(f.at("inbound"))
	c.validateServices(&f)
	c.validateRoutes(&f)
	return errors.Join(f.all()...)
}

func (c Config) validateServices(f *faults) {
	names, hosts := map[string]int{}, map[match.Host]string{}
	for i, s := range c.Services {
		f := f.item("services", i, s.Name)
		switch first, twice := names[s.Name]; {
		case s.Name == "":
			f.add("name: is empty")
		case twice:
			f.add("name: services[%d] has it already", first)
		default:
			names[s.Name] = i
		}
		for j, pattern := range s.hosts() {
			host, err := match.ParseHost(pattern)
			if err != nil {
				f.add("hosts[%d]: %w", j, err)
			} else if other, twice := hosts[host]; twice {
				f.add("hosts[%d]: %q belongs to service %s already", j, pattern, other)
			} else {
				hosts[host] = s.Name
			}
		}
		s.validate(f)
		s.Policies.validate(f)
		p := s.policies(&c)
		p.validateTogether(f)
		if u, err := url.Parse("http://" + s.host()); p.Probe != nil && p.Probe.Path != "" && (err != nil || u.Host != s.host()) {
			f.add("probe: %q, the first host of the service, cannot be that of a URL", s.host())
		}
		if p.Probe != nil && p.Probe.Path != "" && s.Protocol == HTTP2 && s.TLS == nil {
			f.add("probe: needs tls, for http2 is spoken over TLS only")
		}
	}
}

func (s Service) validate(f *faults) {
	if s.Resolver == nil {
		f.add("resolver: is missing")
	}
	plugged(f, "resolver", s.Resolver)
	plugged(f, "balancer", s.Balancer)
	plugged(f, "classifier", s.Classifier)
	f.join("spread", s.Spread.Validate())
	if s.Key != nil {
		f.join("key", s.Key.Validate())
	}
	if s.Protocol > H2C {
		f.add("protocol: %d is unknown", s.Protocol)
	}
	if s.TLS != nil && !slices.Contains([]uint16{0, tls.VersionTLS12, tls.VersionTLS13}, s.TLS.MinVersion) {
		f.add("tls.minVersion: %#x is neither TLS 1.2 nor 1.3", s.TLS.MinVersion)
	}
	if s.Protocol == H2C && s.TLS != nil {
		f.add("protocol: h2c is without TLS, but tls is present")
	}
	for name, d := range map[string]time.Duration{
		"connectTimeout": s.Connection.ConnectTimeout, "tlsTimeout": s.Connection.TLSTimeout,
		"idleTimeout": s.Connection.IdleTimeout,
	} {
		if d < 0 {
			f.add("connection.%s: %v is negative", name, d)
		}
	}
	if s.Connection.MaxIdle < 0 {
		f.add("connection.maxIdle: %d is negative", s.Connection.MaxIdle)
	}
	subsets := map[string]int{}
	for j, sub := range s.Subsets {
		f := f.item("subsets", j, sub.Name)
		if first, twice := subsets[sub.Name]; twice {
			f.add("name: subsets[%d] has it already", first)
		}
		subsets[sub.Name] = j
		if sub.Name == "" {
			f.add("name: is empty")
		}
		if len(sub.Labels) == 0 {
			f.add("labels: are empty, which every endpoint fits")
		}
	}
}

func (c Config) validateRoutes(f *faults) {
	services := map[string]Service{}
	for _, s := range c.Services {
		services[s.Name] = s
	}
	names := map[string]int{}
	rules := make([]routing.Rule[struct{}], len(c.Routes))
	for i, r := range c.Routes {
		rules[i] = routing.Rule[struct{}]{Name: r.Name, Match: r.Match}
		f := f.item("routes", i, r.Name)
		if first, twice := names[r.Name]; twice {
			f.add("name: routes[%d] has it already", first)
		}
		names[r.Name] = i
		if r.Name == "" {
			f.add("name: is empty")
		}
		if r.Sticky != nil {
			f.join("sticky", r.Sticky.Validate())
		}
		f.join("filters", r.Filters.Validate())
		if r.Filters.Redirect != nil || r.Filters.Direct != nil {
			if len(r.Split) > 0 {
				f.add("split: is never used, the filters answer already")
			}
			if r.Policies != (Policies{}) {
				f.add("policies: are never used, the filters answer already")
			}
			if len(r.Mirrors) > 0 {
				f.add("mirrors: are never used, the filters answer already")
			}
		}
		r.Policies.validate(f)
		r.Policies.validateRoute(f)
		for j, d := range r.Split {
			f := f.item("split", j, d.Service)
			if s, ok := known(f, services, d.Service, d.Subset); ok {
				r.Policies.or(s.policies(&c)).validateTogether(f)
			}
		}
		for j, m := range r.Mirrors {
			f := f.item("mirrors", j, m.Service)
			known(f, services, m.Service, m.Subset)
			f.join("policy", m.Policy.Validate())
		}
		parts := map[[2]string]int{}
		for j, d := range r.Split {
			part := [2]string{d.Service, d.Subset}
			if first, twice := parts[part]; twice {
				f.add("split[%d] (%s): is split[%d] again", j, d.Service, first)
			} else {
				parts[part] = j
			}
		}
		if len(r.Split) > 0 {
			if _, err := routing.NewSplit(make([]uint32, len(r.Split))); err != nil {
				f.join("split", err)
			}
			continue
		}
		if hosts, anywhere := r.hosts(); !anywhere && !slices.ContainsFunc(c.Services, func(s Service) bool { return s.isAt(hosts) }) {
			if r.Policies != (Policies{}) || r.Sticky != nil || len(r.Mirrors) > 0 {
				f.add("policies, sticky, mirrors: are never used, no service has a host of the route")
			}
		}
		seen := map[string]bool{}
		for _, s := range slices.Concat(c.Services, []Service{{}}) {
			// Once for each pair of limits, not for each service.
			if p := r.Policies.or(s.policies(&c)); !seen[p.together()] {
				seen[p.together()] = true
				p.validateTogether(f)
			}
		}
	}
	if _, err := routing.Compile(rules); err != nil {
		f.raw(err)
	}
}

// known returns the service of the name and reports whether it is there, and
// that its subset is not.
func known(f *faults, services map[string]Service, name, subset string) (Service, bool) {
	s, ok := services[name]
	if !ok {
		f.add("service: there is no service %q", name)
	} else if subset != "" && !s.hasSubset(subset) {
		f.add("subset: service %s has no subset %q", name, subset)
	}
	return s, ok
}

func (s Service) hasSubset(name string) bool {
	for _, sub := range s.Subsets {
		if sub.Name == name {
			return true
		}
	}
	return false
}

// plugged reports faults of what a user plugs in: that it is a nil pointer,
// that it cannot be compared, and what it says itself.
func plugged(f *faults, path string, v any) {
	switch r := reflect.ValueOf(v); {
	case !r.IsValid():
	case r.Kind() == reflect.Pointer && r.IsNil():
		f.add("%s: is a nil %T", path, v)
	case !r.Comparable():
		f.add("%s: a %T cannot be compared, use a pointer to it", path, v)
	default:
		if val, ok := v.(interface{ Validate() error }); ok {
			f.join(path, val.Validate())
		}
	}
}

// faults collects faults under a path. The faults of a part go to the whole.
type faults struct {
	path string
	list *[]error
}

func (f *faults) at(path string) *faults {
	if f.list == nil {
		f.list = new([]error)
	}
	return &faults{path: f.path + path + ": ", list: f.list}
}

func (f *faults) item(list string, i int, name string) *faults {
	path := fmt.Sprintf("%s[%d]", list, i)
	if name != "" {
		path += " (" + name + ")"
	}
	return f.at(path)
}

func (f *faults) add(format string, args ...any) {
	if f.list == nil {
		f.list = new([]error)
	}
	*f.list = append(*f.list, fmt.Errorf("%s"+format, append([]any{f.path}, args...)...))
}

// join adds all faults that err, the result of a part's Validate, is made of.
func (f *faults) join(path string, err error) {
	for _, e := range unjoin(err) {
		dot := "."
		if field, _, ok := strings.Cut(e.Error(), ":"); !ok || strings.Contains(field, " ") {
			dot = ": " // a fault of the whole part, not of a field
		}
		f.add("%s%s%w", path, dot, e)
	}
}

// raw adds faults that have their whole path already.
func (f *faults) raw(err error) {
	for _, e := range unjoin(err) {
		f.add("%w", e)
	}
}

func (f *faults) all() []error {
	if f.list == nil {
		return nil
	}
	return *f.list
}

func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}
