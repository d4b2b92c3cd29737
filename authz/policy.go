package authz

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
)

// Policy says who may do what. See the package documentation for how rules
// count together, and what is in doubt.
type Policy struct {
	// Mode Observe decides and counts, and lets requests through.
	Mode outcome.Mode `json:"mode,omitzero"`
	// Rules are at least one.
	Rules []Rule `json:"rules"`
}

// Rule matches the requests that come from one of From, are to one of To, and
// for which every condition of When holds. What is nil matches every request;
// a list that is empty but not nil is a fault, here and below.
type Rule struct {
	// Name identifies the rule in Stats, errors and metrics, never to callers.
	// It must be unique within the policy.
	Name string `json:"name"`
	// Action is Allow or Deny.
	Action Action `json:"action"`
	// From are callers, any of them.
	From []Source `json:"from,omitzero"`
	// To are things to do, any of them.
	To []Operation `json:"to,omitzero"`
	// When are further conditions, all of them.
	When []Condition `json:"when,omitzero"`
}

// Source is who calls. All fields that are set must hold, and one must be.
type Source struct {
	// Principals are names of verified principals, compared whole and byte by
	// byte, any of them; "*" alone is any principal. There are no prefixes or
	// suffixes: "spiffe://td*" would be "spiffe://td.evil" too. Where several
	// issuers vouch for names, which may then be the same, set Issuers too.
	Principals []string `json:"principals,omitzero"`
	// NotPrincipals must have none of the caller's name; "*" alone is any
	// principal, so that Deny denies whoever is anonymous.
	NotPrincipals []string `json:"notPrincipals,omitzero"`
	// Issuers are who vouches for the principal, compared whole, any of them.
	Issuers []string `json:"issuers,omitzero"`
	// Networks hold the address that the connection comes from, any of them.
	// It is that of http.Request.RemoteAddr and never from a header. IPv4 and
	// IPv6 are apart: 0.0.0.0/0 holds no IPv6 address. A prefix of at least 96
	// bits of IPv4-mapped addresses counts as the IPv4 prefix.
	Networks []netip.Prefix `json:"networks,omitzero"`
	// NotNetworks must not hold that address, none of them.
	NotNetworks []netip.Prefix `json:"notNetworks,omitzero"`
}

// Operation is what is asked for. All fields that are set must hold, and one
// must be.
type Operation struct {
	// Methods are HTTP methods in upper case, any of them.
	Methods []string `json:"methods,omitzero"`
	// NotMethods must not have the method.
	NotMethods []string `json:"notMethods,omitzero"`
	// Hosts are names that the request is for, any of them, in the form of
	// match.Request.Hosts: "*.example.com" is all names below example.com.
	// Ports are disregarded and must not be given, as the caller chooses them.
	// Hosts that are sent in another form than that are in doubt.
	Hosts []string `json:"hosts,omitzero"`
	// NotHosts must not have the host.
	NotHosts []string `json:"notHosts,omitzero"`
	// Paths are conditions on the path, any of them.
	Paths []Path `json:"paths,omitzero"`
	// NotPaths must not match, none of them.
	NotPaths []Path `json:"notPaths,omitzero"`
}

// Path is a condition on a request's path, of which exactly one field is set.
// It may be percent-encoded or not. It must have one reading, see the package
// documentation: no other path is ever surely matched.
type Path struct {
	// Exact is the whole path.
	Exact string `json:"exact,omitzero"`
	// Prefix is the beginning of the path by whole segments: "/v1" matches
	// "/v1", "/v1/" and "/v1/x" but not "/v12". A slash at its end makes no
	// difference.
	Prefix string `json:"prefix,omitzero"`
}

// Condition is a condition on a claim or a header field. Exactly one of Claim
// and Header is set, and at least one of Values and NotValues.
type Condition struct {
	// Claim is the name of a claim of the verified token, as
	// identity.Claims.Strings takes it: dots lead into objects.
	Claim string `json:"claim,omitzero"`
	// Header is the name of a header field, without regard to case. What it
	// says is the caller's word. For Host use Operation.Hosts.
	Header string `json:"header,omitzero"`
	// Values must have a value of the claim or field, compared whole. "*"
	// alone is any value. Of a claim with several values one is enough.
	Values []string `json:"values,omitzero"`
	// NotValues must have no value of the claim or field. "*" alone is any
	// value, which leaves requests that have no such claim or field.
	NotValues []string `json:"notValues,omitzero"`
}

// Effective returns the policy in the form in which it is compared: paths
// decoded and prefixes without a slash at the end, hosts and names of header
// fields in canonical form, networks unmapped. It shares nothing with p. What
// Validate finds fault with stays as it is.
func (p Policy) Effective() Policy {
	p.Rules = slices.Clone(p.Rules)
	for i := range p.Rules {
		p.Rules[i] = p.Rules[i].effective()
	}
	return p
}

func (r Rule) effective() Rule {
	r.From, r.To, r.When = slices.Clone(r.From), slices.Clone(r.To), slices.Clone(r.When)
	for i, s := range r.From {
		r.From[i] = Source{
			Principals: slices.Clone(s.Principals), NotPrincipals: slices.Clone(s.NotPrincipals), Issuers: slices.Clone(s.Issuers),
			Networks: mapped(s.Networks, unmap), NotNetworks: mapped(s.NotNetworks, unmap),
		}
	}
	for i, o := range r.To {
		r.To[i] = Operation{
			Methods: slices.Clone(o.Methods), NotMethods: slices.Clone(o.NotMethods),
			Hosts: mapped(o.Hosts, canonicalHost), NotHosts: mapped(o.NotHosts, canonicalHost),
			Paths: mapped(o.Paths, Path.effective), NotPaths: mapped(o.NotPaths, Path.effective),
		}
	}
	for i, c := range r.When {
		c.Header = http.CanonicalHeaderKey(c.Header)
		c.Values, c.NotValues = slices.Clone(c.Values), slices.Clone(c.NotValues)
		r.When[i] = c
	}
	return r
}

// mapped returns what f makes of each element; nil stays nil.
func mapped[T any](list []T, f func(T) T) []T {
	list = slices.Clone(list)
	for i, v := range list {
		list[i] = f(v)
	}
	return list
}

// unmap returns the IPv4 prefix that a prefix of IPv4-mapped addresses means.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

func canonicalHost(pattern string) string {
	host, err := match.ParseHost(pattern)
	switch {
	case err != nil || host.Port != 0:
		return pattern
	case host.Wildcard:
		return "*." + host.Name
	}
	return host.Name
}

func (p Path) effective() Path {
	if exact, err := parsePath(p.Exact); err == nil {
		p.Exact = exact
	}
	if prefix, err := parsePath(p.Prefix); err == nil {
		p.Prefix = prefix
		if prefix != "/" {
			p.Prefix = strings.TrimSuffix(prefix, "/")
		}
	}
	return p
}
