package authz

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/tulle-mesh/tulle/internal/token"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
)

// maxName keeps names fit for labels.
const maxName = 128

// Validate reports every fault of the policy, each with its path, such as
// `rules[2] (admins): to[0].paths[1].prefix: ...`. It returns nil exactly if New
// succeeds.
func (p Policy) Validate() error {
	var f faults
	if p.Mode > outcome.Observe {
		f.add("mode", "%d is neither Enforce nor Observe", p.Mode)
	}
	if len(p.Rules) == 0 {
		f.add("rules", "none: without rules everything would be allowed; say so by a rule without conditions that allows or denies")
	}
	names, same := map[string]int{}, map[string]int{}
	for i, r := range p.Rules {
		path := fmt.Sprintf("rules[%d]", i)
		first, twice := names[r.Name]
		switch {
		case r.Name == "":
			f.add(path+".name", "is empty")
		case twice:
			f.add(path+".name", "rules[%d] is called %q already", first, r.Name)
		case len(r.Name) > maxName || strings.ContainsFunc(r.Name, func(c rune) bool { return !unicode.IsPrint(c) }):
			f.add(path+".name", "%.*q is longer than %d bytes or not printable", maxName, r.Name, maxName)
		default:
			names[r.Name] = i
			path += " (" + r.Name + ")"
		}
		before := len(f)
		f.rule(path+": ", r)
		if len(f) > before {
			continue
		}
		key := r.key()
		if first, twice := same[key]; twice {
			f.add(path, "never decides: rules[%d] (%s) has the same action and conditions", first, p.Rules[first].Name)
		} else {
			same[key] = i
		}
	}
	return errors.Join(f...)
}

// faults collects what is wrong with a policy.
type faults []error

func (f *faults) add(path, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
}

func (f *faults) rule(path string, r Rule) {
	if r.Action != Allow && r.Action != Deny {
		f.add(path+"action", "is neither Allow nor Deny")
	}
	notEmpty(f, path+"from", r.From)
	notEmpty(f, path+"to", r.To)
	notEmpty(f, path+"when", r.When)
	for i, s := range r.From {
		f.source(fmt.Sprintf("%sfrom[%d]", path, i), r.Action, s)
	}
	for i, o := range r.To {
		f.operation(fmt.Sprintf("%sto[%d]", path, i), o)
	}
	for i, c := range r.When {
		f.condition(fmt.Sprintf("%swhen[%d]", path, i), r.Action, c)
	}
}

func (f *faults) source(path string, action Action, s Source) {
	if s.Principals == nil && s.NotPrincipals == nil && s.Issuers == nil && s.Networks == nil && s.NotNetworks == nil {
		f.add(path, "has no condition; to match every caller leave from out")
	}
	f.texts(path+".principals", s.Principals)
	f.texts(path+".notPrincipals", s.NotPrincipals)
	f.apart(path, "principals", s.Principals, s.NotPrincipals)
	if slices.Contains(s.NotPrincipals, "*") && (action == Allow || s.Principals != nil || s.Issuers != nil) {
		f.add(path+".notPrincipals", `"*" leaves nobody whom the rule could match`)
	}
	f.texts(path+".issuers", s.Issuers)
	if i := slices.Index(s.Issuers, "*"); i >= 0 {
		f.add(fmt.Sprintf("%s.issuers[%d]", path, i), `"*" is not a form of issuers; use principals`)
	}
	f.networks(path+".networks", s.Networks)
	f.networks(path+".notNetworks", s.NotNetworks)
}

func (f *faults) operation(path string, o Operation) {
	if o.Methods == nil && o.NotMethods == nil && o.Hosts == nil && o.NotHosts == nil && o.Paths == nil && o.NotPaths == nil {
		f.add(path, "has no condition; to match every request leave to out")
	}
	f.methods(path+".methods", o.Methods)
	f.methods(path+".notMethods", o.NotMethods)
	f.apart(path, "methods", o.Methods, o.NotMethods)
	f.hosts(path+".hosts", o.Hosts)
	f.hosts(path+".notHosts", o.NotHosts)
	f.paths(path+".paths", o.Paths)
	f.paths(path+".notPaths", o.NotPaths)
}

func (f *faults) condition(path string, action Action, c Condition) {
	switch {
	case (c.Claim == "") == (c.Header == ""):
		f.add(path, "exactly one of claim and header must be set")
	case c.Header != "" && !token.Is(c.Header):
		f.add(path+".header", "%q is not the name of a header field", c.Header)
	case strings.EqualFold(c.Header, "Host"):
		f.add(path+".header", "the host is not a header here; use hosts")
	}
	if c.Values == nil && c.NotValues == nil {
		f.add(path, `neither values nor notValues is set; "*" is any value`)
	}
	f.texts(path+".values", c.Values)
	f.texts(path+".notValues", c.NotValues)
	f.apart(path, "values", c.Values, c.NotValues)
	if slices.Contains(c.NotValues, "*") && (c.Values != nil || action == Allow && c.Claim != "") {
		f.add(path+".notValues", `"*" leaves no request that the rule could match`)
	}
}

// notEmpty finds a list that somebody has made and put nothing in. As a condition
// that is left out it would match everything.
func notEmpty[T any](f *faults, path string, list []T) {
	if list != nil && len(list) == 0 {
		f.add(path, "is an empty list; leave it out to match everything")
	}
}

// twice finds what is listed more than once.
func twice[T comparable](f *faults, path string, list []T) {
	notEmpty(f, path, list)
	seen := make(map[T]int, len(list))
	for i, v := range list {
		if first, ok := seen[v]; ok {
			f.add(fmt.Sprintf("%s[%d]", path, i), "is listed twice, first in [%d]", first)
		} else {
			seen[v] = i
		}
	}
}

// texts judges a list of names or values, which "*" may stand for.
func (f *faults) texts(path string, list []string) {
	twice(f, path, list)
	for i, s := range list {
		switch {
		case s == "":
			f.add(fmt.Sprintf("%s[%d]", path, i), "is empty")
		case s == "*" && len(list) > 1:
			f.add(fmt.Sprintf("%s[%d]", path, i), `"*" stands alone`)
		}
	}
}

// apart finds what is both listed and excluded.
func (f *faults) apart(path, name string, list, not []string) {
	excluded := make(map[string]bool, len(not))
	for _, s := range not {
		excluded[s] = true
	}
	for i, s := range list {
		if excluded[s] {
			f.add(fmt.Sprintf("%s.%s[%d]", path, name, i), "%q is excluded too", s)
		}
	}
}

func (f *faults) methods(path string, list []string) {
	twice(f, path, list)
	for i, m := range list {
		switch {
		case !token.Is(m):
			f.add(fmt.Sprintf("%s[%d]", path, i), "%q is not a method", m)
		case m != strings.ToUpper(m):
			f.add(fmt.Sprintf("%s[%d]", path, i), "%q: methods have a case; write %q", m, strings.ToUpper(m))
		}
	}
}

func (f *faults) hosts(path string, list []string) {
	twice(f, path, mapped(list, canonicalHost))
	for i, pattern := range list {
		switch host, err := match.ParseHost(pattern); {
		case err != nil:
			f.add(fmt.Sprintf("%s[%d]", path, i), "%w", err)
		case host.Port != 0:
			f.add(fmt.Sprintf("%s[%d]", path, i), "%q: the caller chooses the port he writes; leave it out", pattern)
		}
	}
}

func (f *faults) paths(path string, list []Path) {
	twice(f, path, mapped(list, Path.effective))
	for i, p := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if (p.Exact == "") == (p.Prefix == "") {
			f.add(at, "exactly one of exact and prefix must be set")
		}
		f.path(at+".exact", p.Exact)
		f.path(at+".prefix", p.Prefix)
	}
}

func (f *faults) path(path, pattern string) {
	if pattern == "" {
		return
	}
	if _, err := parsePath(pattern); err != nil {
		f.add(path, "%w", err)
	}
}

func (f *faults) networks(path string, list []netip.Prefix) {
	twice(f, path, mapped(list, unmap))
	for i, n := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case !n.IsValid():
			f.add(at, "invalid prefix")
		case n.Addr().Is4In6() && n.Bits() < 96:
			f.add(at, "%v mixes IPv4 and IPv6 addresses; list them apart", n)
		case n != n.Masked():
			f.add(at, "%v has host bits set; write %v", n, n.Masked())
		}
	}
}
