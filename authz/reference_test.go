package authz_test

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/identity"
)

// can says whether a condition can hold and whether it can fail, as far as
// anybody can tell from outside the handler. It is the slow, plain model of what
// the package calls a verdict.
type can struct{ hold, fail bool }

func certain(holds bool) can { return can{hold: holds, fail: !holds} }

func (c can) not() can { return can{hold: c.fail, fail: c.hold} }

func allOf(list ...can) can {
	c := can{hold: true}
	for _, e := range list {
		c.hold, c.fail = c.hold && e.hold, c.fail || e.fail
	}
	return c
}

func anyOf(list ...can) can {
	c := can{fail: true}
	for _, e := range list {
		c.hold, c.fail = c.hold || e.hold, c.fail && e.fail
	}
	return c
}

var unknown = can{hold: true, fail: true}

// decideNaively judges a request by all rules of a policy, one by one.
func decideNaively(rules []authz.Rule, r *http.Request) (allowed bool, rule string, inDoubt bool) {
	var first *authz.Rule
	allowing, nearly := false, false
	for i := range rules {
		c := ruleNaively(rules[i], r)
		if rules[i].Action == authz.Deny && c.hold {
			return false, rules[i].Name, c.fail
		}
		if rules[i].Action == authz.Allow {
			allowing, nearly = true, nearly || c.hold
			if first == nil && !c.fail {
				first = &rules[i]
			}
		}
	}
	switch {
	case first != nil:
		return true, first.Name, false
	case !allowing:
		return true, "", false
	}
	return false, "", nearly
}

func ruleNaively(rule authz.Rule, r *http.Request) can {
	from, to, all := can{fail: true}, can{fail: true}, can{hold: true}
	for _, s := range rule.From {
		from = anyOf(from, sourceNaively(s, r))
	}
	for _, o := range rule.To {
		to = anyOf(to, operationNaively(o, r))
	}
	for _, w := range rule.When {
		all = allOf(all, conditionNaively(w, r))
	}
	if rule.From == nil {
		from = certain(true)
	}
	if rule.To == nil {
		to = certain(true)
	}
	return allOf(from, to, all)
}

func sourceNaively(s authz.Source, r *http.Request) can {
	p, _ := identity.FromContext(r.Context())
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	addr, _ := netip.ParseAddr(host)
	named := func(list []string, name string) can {
		return certain(!p.IsZero() && (slices.Contains(list, name) || slices.Equal(list, []string{"*"})))
	}
	within := func(list []netip.Prefix) can {
		return certain(slices.ContainsFunc(list, func(n netip.Prefix) bool { return n.Contains(addr) }))
	}
	c := can{hold: true}
	if !p.IsZero() && p.Kind == identity.Anonymous && (s.Principals != nil || s.NotPrincipals != nil || s.Issuers != nil) {
		// Nobody has verified him, and yet he has a name.
		c = allOf(c, unknown)
		s.Principals, s.NotPrincipals, s.Issuers = nil, nil, nil
	}
	if s.Principals != nil {
		c = allOf(c, named(s.Principals, p.Name))
	}
	if s.NotPrincipals != nil {
		if p.IsZero() {
			c = allOf(c, unknown)
		} else {
			c = allOf(c, named(s.NotPrincipals, p.Name).not())
		}
	}
	if s.Issuers != nil {
		c = allOf(c, named(s.Issuers, p.Issuer))
	}
	if s.Networks != nil {
		c = allOf(c, within(s.Networks))
	}
	if s.NotNetworks != nil {
		if addr.IsValid() {
			c = allOf(c, within(s.NotNetworks).not())
		} else {
			c = allOf(c, unknown)
		}
	}
	return c
}

func operationNaively(o authz.Operation, r *http.Request) can {
	c := can{hold: true}
	if o.Methods != nil {
		c = allOf(c, methodNaively(o.Methods, r.Method))
	}
	if o.NotMethods != nil {
		c = allOf(c, methodNaively(o.NotMethods, r.Method).not())
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	on := func(list []string) can {
		return certain(slices.ContainsFunc(list, func(h string) bool {
			suffix, wild := strings.CutPrefix(h, "*")
			return h == host || wild && strings.HasSuffix(host, suffix) && host != suffix
		}))
	}
	if o.Hosts != nil {
		c = allOf(c, on(o.Hosts))
	}
	if o.NotHosts != nil {
		c = allOf(c, on(o.NotHosts).not())
	}
	if o.Paths != nil {
		c = allOf(c, pathsNaively(o.Paths, r.URL))
	}
	if o.NotPaths != nil {
		c = allOf(c, pathsNaively(o.NotPaths, r.URL).not())
	}
	return c
}

// methodNaively knows two readings of a method: as it is, and as lax handlers
// and net/http's for HEAD take it.
func methodNaively(list []string, method string) can {
	if slices.Contains(list, method) {
		return certain(true)
	}
	upper := strings.ToUpper(method)
	lax := slices.Contains(list, upper) || upper == "HEAD" && slices.Contains(list, "GET")
	return can{hold: lax, fail: true}
}

var needlessEscape = regexp.MustCompile(`(?i)%(2[def]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])`)

func oneReading(u *url.URL) bool {
	p := u.Path
	switch {
	case p == "":
		return true
	case p[0] != '/', strings.ContainsAny(p, `%\;?#`), !utf8.ValidString(p), needlessEscape.MatchString(u.RawPath):
		return false
	case strings.ContainsFunc(p, func(c rune) bool { return c < 0x80 && unicode.IsControl(c) }):
		return false
	}
	cleaned := path.Clean(p)
	return p == cleaned || p == cleaned+"/"
}

func pathsNaively(list []authz.Path, u *url.URL) can {
	if !oneReading(u) {
		return unknown
	}
	segments := func(p string) []string { return strings.Split(strings.Trim(p, "/"), "/") }
	have := segments(u.Path)
	c := can{fail: true}
	for _, p := range list {
		want := segments(p.Exact + p.Prefix)
		switch {
		case p.Prefix != "":
			c = anyOf(c, certain(want[0] == "" || len(have) >= len(want) && slices.Equal(have[:len(want)], want)))
		case slices.Equal(have, want) && strings.HasSuffix(u.Path, "/") != strings.HasSuffix(p.Exact, "/"):
			c = anyOf(c, unknown)
		default:
			c = anyOf(c, certain(slices.Equal(have, want)))
		}
	}
	return c
}

func conditionNaively(w authz.Condition, r *http.Request) can {
	c := can{hold: true}
	claims, _ := identity.ClaimsFrom(r.Context())
	if w.Claim != "" {
		have := claims.Strings(w.Claim)
		among := func(list []string) bool {
			return slices.ContainsFunc(have, func(s string) bool { return list[0] == "*" || slices.Contains(list, s) })
		}
		if w.Values != nil {
			c = allOf(c, certain(among(w.Values)))
		}
		if w.NotValues != nil {
			if len(have) == 0 {
				c = allOf(c, unknown)
			} else {
				c = allOf(c, certain(!among(w.NotValues)))
			}
		}
		return c
	}
	fields := r.Header.Values(w.Header)
	among := func(list []string) can {
		if len(fields) == 0 || list[0] == "*" {
			return certain(len(fields) > 0)
		}
		joined := strings.Join(fields, ",")
		readings := append([]string{joined}, fields...)
		if joined != fields[0] || !slices.Contains(list, joined) {
			for e := range strings.SplitSeq(joined, ",") {
				readings = append(readings, strings.TrimSpace(e))
			}
		}
		v := can{fail: len(fields) > 1} // nobody should send it twice
		for _, s := range readings {
			if slices.Contains(list, s) {
				v.hold = true
			} else {
				v.fail = true
			}
		}
		return v
	}
	if w.Values != nil {
		c = allOf(c, among(w.Values))
	}
	if w.NotValues != nil {
		c = allOf(c, among(w.NotValues).not())
	}
	return c
}
