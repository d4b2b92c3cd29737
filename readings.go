package tulle

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
)

// What a request is for is read twice: by rules here, and by the handler when
// it finds out which of its parts is asked for. Where the two could differ,
// and with that the guard, so that one part could be had under the guard of
// another, the request is malformed.

var (
	errPaths = errors.New("the path has several readings, under different rules")
	errHosts = errors.New("the host has several readings, under different rules")
	errHost  = errors.New("the host is none, and there are rules by host")
)

// newMatcher compiles a condition of a rule. Handlers of GET are asked for
// HEAD as well, so what guards them does, too.
func newMatcher(cond match.Request) (m matcher, err error) {
	if slices.Contains(cond.Methods, http.MethodGet) && !slices.Contains(cond.Methods, http.MethodHead) {
		cond.Methods = append(slices.Clone(cond.Methods), http.MethodHead)
	}
	if m.rest, err = match.Compile(cond); err != nil {
		return m, err
	}
	if m.host, err = match.Compile(match.Request{Hosts: cond.Hosts}); err != nil {
		return m, err
	}
	for _, pattern := range cond.Hosts {
		host, err := match.ParseHost(pattern)
		if err != nil {
			return m, err
		}
		m.hosts = append(m.hosts, host)
	}
	return m, nil
}

// of returns the guard of a request.
func (g *guards) of(r *http.Request) (*guard, error) {
	sent := ""
	if g.hosts && r.URL != nil {
		var ok bool
		if sent, ok = sentHost(r); !ok {
			return nil, &Error{Reason: outcome.BadRequest, Err: errHost}
		}
	}
	path := ""
	if g.paths && r.URL != nil {
		path = match.CanonicalPath(r.URL)
	}
	found := g.at(path, "", r)
	if sent != "" && g.at(path, sent, r) != found {
		return nil, &Error{Reason: outcome.BadRequest, Err: errHosts}
	}
	odd := strings.ContainsAny(r.URL.Path, `%;\`)
	if path == "" || r.URL.Path == "" || path == r.URL.Path && r.URL.RawPath == "" && !odd {
		return found, nil
	}
	readings := [...]string{r.URL.Path, match.CanonicalPath(&url.URL{Path: r.URL.Path}), halfDecoded(r.URL.RawPath), ""}
	if odd {
		readings[3] = loosened(r.URL.Path)
	}
	for _, reading := range readings {
		if reading != "" && reading != path && (g.at(reading, "", r) != found || sent != "" && g.at(reading, sent, r) != found) {
			return nil, &Error{Reason: outcome.BadRequest, Err: errPaths}
		}
	}
	return found, nil
}

// at returns the guard of a request as if it had the path. Unless sent is
// empty the host must be in the rules as it was sent, too.
func (g *guards) at(path, sent string, r *http.Request) *guard {
	for _, rule := range g.rules {
		if len(rule.matchers) == 0 {
			return rule.guard
		}
		for _, m := range rule.matchers {
			if m.host.Matches(r) && (sent == "" || m.names(sent)) && m.rest.MatchesPath(path, r) {
				return rule.guard
			}
		}
	}
	return g.base
}

// names reports whether a condition is about a host as it is written.
func (m *matcher) names(host string) bool {
	return len(m.hosts) == 0 || slices.ContainsFunc(m.hosts, func(h match.Host) bool {
		return !h.Wildcard && host == h.Name || h.Wildcard && strings.HasSuffix(host, "."+h.Name)
	})
}

// sentHost returns the host of a request without its port as it was sent, if
// that is not the form in which rules have it: handlers, http.ServeMux among
// them, may not take "SHOP.example" for "shop.example". It is not ok if rules
// cannot tell what host it is, though handlers may, as with
// "shop.example:http", or if there are two of them.
func sentHost(r *http.Request) (sent string, ok bool) {
	if r.URL.Host != "" && r.URL.Host != r.Host {
		return "", false
	}
	if r.Host == "" {
		return "", true
	}
	name, _ := match.CanonicalHost(r)
	sent = r.Host
	if literal, ok := strings.CutPrefix(sent, "["); ok {
		sent, _, _ = strings.Cut(literal, "]")
	} else {
		sent, _, _ = strings.Cut(sent, ":")
	}
	if sent == name {
		return "", name != ""
	}
	return sent, name != ""
}

// loosened returns what the most generous of programs makes of a decoded path:
// it decodes twice, takes backslashes for slashes, and cuts parameters off.
func loosened(path string) string {
	if again, err := url.PathUnescape(path); err == nil {
		path = again
	}
	segments := strings.Split(strings.ReplaceAll(path, `\`, "/"), "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return match.CanonicalPath(&url.URL{Path: strings.Join(segments, "/")})
}

// halfDecoded returns an encoded path decoded but for what need not have been
// encoded, "" if there is nothing of the kind: RFC 3986, section 2.3, says of
// letters, digits and "-._~" that they "should not be created by URI producers"
// in that form, and routers that go by what was sent do not know them in it.
func halfDecoded(raw string) string {
	needless := false
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' && i+2 < len(raw) {
			if decoded, err := url.PathUnescape(raw[i : i+3]); err == nil {
				if c = decoded[0]; unreserved(c) {
					needless = true
					out = append(out, raw[i:i+3]...)
				} else {
					out = append(out, c)
				}
				i += 2
				continue
			}
		}
		out = append(out, c)
	}
	if !needless {
		return ""
	}
	return string(out)
}

func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
