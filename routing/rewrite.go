package routing

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/tulle-mesh/tulle/match"
)

// Rewrite changes what a request asks for. At most one of Path and Prefix may be
// set, at least one field must be. The query stays.
type Rewrite struct {
	// Host replaces the Host header. URL.Host, and so where the request goes,
	// stays. It may contain a port.
	Host string `json:"host,omitzero"`
	// Path replaces the whole path.
	Path string `json:"path,omitzero"`
	// Prefix replaces the part of the path that was matched ([Hit.Prefix]) as
	// Gateway API's ReplacePrefixMatch does: for a rule with the prefix "/v1",
	// "/users" makes "/users/7" of "/v1/7", and "/" makes "/7". A slash at its end
	// makes no difference. It is put in front of the whole path if the rule
	// matched no prefix.
	Prefix string `json:"prefix,omitzero"`
}

// Apply changes req, a copy that the caller owns; prefix is that of the [Hit].
// It gives req a new URL and leaves the one it had alone. If the path changes,
// what remains of it keeps its escapes, and its dot segments and repeated
// slashes are resolved: the path that is sent is the one that was judged.
func (w Rewrite) Apply(req *http.Request, prefix string) {
	if w.Host != "" {
		req.Host = w.Host
	}
	if w.Path == "" && w.Prefix == "" {
		return
	}
	u := *req.URL
	setEscapedPath(&u, newPath(req.URL, w.Path, w.Prefix, prefix))
	req.URL = &u
}

// Validate reports every fault of w, each with its path.
func (w Rewrite) Validate() error {
	var faults faults
	if (w == Rewrite{}) {
		faults.add("host, path, prefix", "at least one must be set")
	}
	if w.Host != "" {
		faults.host(w.Host)
	}
	faults.newPath(w.Path, w.Prefix)
	return faults.err()
}

// host refuses what does not name one host.
func (f *faults) host(host string) {
	switch h, err := match.ParseHost(host); {
	case err != nil:
		f.add("host", "%w", err)
	case h.Wildcard:
		f.add("host", "%q names no single host", host)
	case strings.Count(host, ":") > 1 && host[0] != '[':
		f.add("host", "%q: an IPv6 address stands in brackets here", host)
	}
}

// newPath refuses what newPath cannot make a path of.
func (f *faults) newPath(path, prefix string) {
	if path != "" && prefix != "" {
		f.add("path, prefix", "at most one may be set")
	}
	for _, p := range []struct{ name, path string }{{"path", path}, {"prefix", prefix}} {
		if p.path == "" {
			continue
		}
		if _, err := (match.Path{Exact: p.path}).Canonical(); err != nil {
			f.add(p.name, `%q is not a path: one begins with a slash and has no dot segments, `+
				`repeated slashes, bad escapes, "?" or "#"`, p.path)
		}
	}
}

// newPath returns the escaped path of u after path has replaced all of it, or
// prefix the part matched, whichever is set.
func newPath(u *url.URL, path, prefix, matched string) string {
	if path != "" {
		return escape(path)
	}
	old := escape(match.EscapedPath(u)) // an Opaque part may hold anything
	if prefix == "" || old[0] != '/' {
		return old
	}
	// Segments of the escaped and the canonical path correspond one by one.
	for range strings.Count(strings.TrimSuffix(matched, "/"), "/") {
		i := strings.IndexByte(old[1:], '/')
		if i < 0 {
			old = ""
			break
		}
		old = old[1+i:]
	}
	if joined := strings.TrimSuffix(escape(prefix), "/") + old; joined != "" {
		return joined
	}
	return "/"
}

// escape returns a path, in which what needs to be escaped may be so already or
// not, as it is written on the wire.
func escape(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			strings.IndexByte("-._~!$&'()*+,;=:@/%[]", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// setEscapedPath sets u's path to one that holds no bad escape, and RawPath, as
// net/url does, only where Path does not say how to write it.
func setEscapedPath(u *url.URL, escaped string) {
	u.Path, _ = url.PathUnescape(escaped)
	u.RawPath, u.Opaque = "", ""
	if u.EscapedPath() != escaped {
		u.RawPath = escaped
	}
}
