package match

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// CanonicalPath returns the form of u's path that conditions are judged on: it
// begins with "/", has neither dot segments nor empty segments except one at the
// end, and is decoded except for "%2F", an encoded slash, and "%25", an encoded
// percent sign. Dot segments cannot lead above the root. An empty path is "/",
// the request target "*" stays as it is. A client's URL with an Opaque part is
// judged by the path in it, which is what is sent.
//
// It does not allocate for a canonical path without such escapes.
func CanonicalPath(u *url.URL) string {
	if opaque := u.Opaque != "" && u.Host != ""; !opaque && !hasEncodedSlash(u.RawPath) {
		// net/url has decoded everything, and no slash in Path was encoded.
		if isCanonical(u.Path) {
			return u.Path
		}
		if u.Path == "" {
			return "/"
		}
		return clean(strings.ReplaceAll(u.Path, "%", "%25"))
	}
	decoded, _ := decodePath(sentPath(u))
	return clean(decoded)
}

// EscapedPath returns u's path as it is written on the wire, with dot segments
// and repeated slashes resolved as in [CanonicalPath] and every other escape as
// it was: its segments are, one by one, those of CanonicalPath.
func EscapedPath(u *url.URL) string {
	return clean(sentPath(u))
}

// sentPath returns the escaped path that a client sends for u, but for the slash
// at its beginning. It holds no bad escape.
func sentPath(u *url.URL) string {
	if u.Opaque == "" || u.Host == "" {
		return u.EscapedPath()
	}
	path, _, _ := strings.Cut(u.Opaque, "?")
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		_, path, _ = strings.Cut(rest, "/")
	}
	if _, err := url.PathUnescape(path); err != nil {
		path = strings.ReplaceAll(path, "%", "%25")
	}
	return path
}

// hasEncodedSlash reports whether s contains "%2F" or "%2f".
func hasEncodedSlash(s string) bool {
	for {
		i := strings.Index(s, "%2")
		if i < 0 || i+2 >= len(s) {
			return false
		}
		if s[i+2]|0x20 == 'f' {
			return true
		}
		s = s[i+2:]
	}
}

// isCanonical reports whether a decoded path is its own canonical form.
func isCanonical(path string) bool {
	if path == "" || path[0] != '/' {
		return path == "*"
	}
	if strings.IndexByte(path, '%') >= 0 {
		return false
	}
	return isClean(path)
}

// isClean reports whether a path that begins with "/" has no dot segments and no
// empty segments except one at the end.
func isClean(path string) bool {
	for i := 0; i < len(path); {
		// path[i] is a slash.
		end := strings.IndexByte(path[i+1:], '/')
		if end < 0 {
			return dots(path[i+1:]) == 0
		}
		if end == 0 || dots(path[i+1:i+1+end]) > 0 {
			return false
		}
		i += 1 + end
	}
	return true
}

// dots returns 1 for the segment "." and 2 for "..", encoded or not, else 0.
func dots(segment string) int {
	n := 0
	for segment != "" {
		switch {
		case segment[0] == '.':
			segment = segment[1:]
		case len(segment) >= 3 && segment[0] == '%' && segment[1] == '2' && segment[2]|0x20 == 'e':
			segment = segment[3:]
		default:
			return 0
		}
		if n++; n > 2 {
			return 0
		}
	}
	return n
}

// clean resolves dot segments and empty segments of a path, in the manner of RFC
// 3986 section 5.2.4: what ends in a dot segment ends in a slash. In canonical
// form a percent sign is "%25", so "%2e" cannot be mistaken for a dot there.
func clean(path string) string {
	if path == "*" || path != "" && path[0] == '/' && isClean(path) {
		return path
	}
	out := make([]byte, 1, len(path)+1)
	out[0] = '/'
	for path != "" {
		segment, rest, slash := strings.Cut(path, "/")
		path = rest
		// out ends in a slash here.
		switch dots(segment) {
		case 1:
		case 2:
			if len(out) > 1 {
				out = out[:bytes.LastIndexByte(out[:len(out)-1], '/')+1]
			}
		default:
			if segment == "" {
				continue
			}
			out = append(out, segment...)
			if slash {
				out = append(out, '/')
			}
		}
	}
	return string(out)
}

// decodePath decodes the escapes of a path except those of a slash and a percent
// sign, which it writes as "%2F" and "%25".
func decodePath(escaped string) (string, error) {
	if strings.IndexByte(escaped, '%') < 0 {
		return escaped, nil
	}
	out := make([]byte, 0, len(escaped))
	for i := 0; i < len(escaped); i++ {
		c := escaped[i]
		if c == '%' {
			var ok bool
			if c, ok = unhex(escaped[i+1:]); !ok {
				return "", url.EscapeError(escaped[i:min(i+3, len(escaped))])
			}
			i += 2
			switch c {
			case '/':
				out = append(out, "%2F"...)
				continue
			case '%':
				out = append(out, "%25"...)
				continue
			}
		}
		out = append(out, c)
	}
	return string(out), nil
}

// unhex returns the byte that the two hexadecimal digits at the start of s mean.
func unhex(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	hi, lo := digit(s[0]), digit(s[1])
	return hi<<4 | lo, hi < 16 && lo < 16
}

// digit returns the value of a hexadecimal digit, or 16 if c is none.
func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}

// parsePath returns the canonical form of a path given in configuration.
func parsePath(pattern string) (string, error) {
	if pattern[0] != '/' {
		return "", fmt.Errorf("%q does not begin with a slash", pattern)
	}
	if strings.ContainsAny(pattern, "?#") {
		return "", fmt.Errorf("%q holds more than a path", pattern)
	}
	path, err := decodePath(pattern)
	if err != nil {
		return "", err
	}
	if cleaned := clean(path); cleaned != path {
		return "", fmt.Errorf("%q never matches; its canonical form is %q", pattern, cleaned)
	}
	return path, nil
}

// hasPrefix reports whether prefix, which does not end in a slash, is the
// beginning of path by whole segments.
func hasPrefix(path, prefix string) bool {
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}

// Canonical returns p with Exact and Prefix in the form that [CanonicalPath]
// gives paths, Prefix without a slash at its end unless it is "/". It reports the
// faults of these; those of Regex are reported by [Compile].
func (p Path) Canonical() (Path, error) {
	c := compiler{}
	canonical := c.canonicalPath("path.", p)
	return canonical, c.err()
}

// pathMatcher is a compiled Path.
type pathMatcher struct {
	Path  // canonical
	regex *regexp.Regexp
}

// matches judges a canonical path.
func (m *pathMatcher) matches(path string) bool {
	switch {
	case m.regex != nil:
		return m.regex.MatchString(path)
	case m.Exact != "":
		return path == m.Exact
	case m.Prefix == "/":
		return path[0] == '/'
	}
	return hasPrefix(path, m.Prefix)
}

var errSeveral = errors.New("at most one of exact, prefix and regex")
