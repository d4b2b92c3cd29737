package match_test

import (
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/match"
)

// matchesNaively judges r by m with the plain tools of the standard library.
func matchesNaively(m match.Request, r *http.Request) bool {
	anyOf := func(list []string, is func(string) bool) bool {
		return len(list) == 0 || slices.ContainsFunc(list, is)
	}
	method := r.Method
	if method == "" {
		method = "GET"
	}
	principal, _ := identity.FromContext(r.Context())
	if !anyOf(m.Hosts, func(pattern string) bool { return hostNaively(pattern, r) }) ||
		!anyOf(m.Methods, func(s string) bool { return s == method }) ||
		!anyOf(m.Principals, func(s string) bool { return s == principal.Name }) ||
		!pathNaively(m.Path, r.URL) {
		return false
	}
	for _, v := range m.Headers {
		fields := r.Header[textproto.CanonicalMIMEHeaderKey(v.Name)]
		if valueNaively(v, strings.Join(fields, ","), len(fields) > 0) == v.Not {
			return false
		}
	}
	for _, v := range m.Query {
		values, _ := url.ParseQuery(r.URL.RawQuery)
		if valueNaively(v, values.Get(v.Name), values.Has(v.Name)) == v.Not {
			return false
		}
	}
	return true
}

func valueNaively(v match.Value, value string, present bool) bool {
	switch {
	case !present:
		return false
	case v.Exact != "":
		return value == v.Exact
	case v.Regex != "":
		return regexNaively(v.Regex, value)
	}
	return strings.HasPrefix(value, v.Prefix)
}

// regexNaively finds the longest of the leftmost matches, which is the whole
// text exactly if that matches.
func regexNaively(expr, text string) bool {
	re, err := regexp.Compile("(?s)" + expr)
	if err != nil {
		return false
	}
	re.Longest()
	at := re.FindStringIndex(text)
	return at != nil && at[0] == 0 && at[1] == len(text)
}

func pathNaively(p match.Path, u *url.URL) bool {
	canonical := func(path string) string { return naivePath(path) }
	path := canonical(u.EscapedPath())
	switch {
	case p.Exact != "":
		return path == canonical(p.Exact)
	case p.Regex != "":
		return regexNaively(p.Regex, path)
	case p.Prefix != "":
		want := strings.Split(strings.Trim(canonical(p.Prefix), "/"), "/")
		have := strings.Split(strings.TrimPrefix(path, "/"), "/")
		return want[0] == "" || len(have) >= len(want) && slices.Equal(have[:len(want)], want)
	}
	return true
}

func hostNaively(pattern string, r *http.Request) bool {
	split := func(host string) (string, string) {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = strings.Trim(host, "[]"), ""
		}
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if addr, err := netip.ParseAddr(name); err == nil {
			name = addr.String()
		}
		return name, port
	}
	host := r.URL.Host
	if host == "" {
		host = r.Host
	}
	name, port := split(host)
	if port == "" {
		port = "80"
		if r.TLS != nil || r.URL.Scheme == "https" {
			port = "443"
		}
	}
	wantName, wantPort := split(pattern)
	if wantPort != "" {
		a, err1 := strconv.Atoi(port)
		b, err2 := strconv.Atoi(wantPort)
		if err1 != nil || err2 != nil || a != b {
			return false
		}
	}
	if suffix, ok := strings.CutPrefix(wantName, "*"); ok {
		return strings.HasSuffix(name, suffix) && len(name) > len(suffix)
	}
	return name == wantName
}
