package authz

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// plainPath returns the path of r, decoded, and whether it has that one
// reading and no other. It does not allocate.
func plainPath(r *http.Request) (path string, sure bool) {
	u := r.URL
	switch {
	case u == nil || u.Opaque != "":
		return "", false
	case u.Path == "" && u.RawPath == "":
		// RFC 3986, section 6.2.3: "an empty path should be normalized to a path
		// of '/'". The target of CONNECT has no path.
		return "/", r.Method != http.MethodConnect
	}
	return u.Path, ambiguity(u.Path) == "" && wellEscaped(u.RawPath, u.Path)
}

// ambiguity says what gives a decoded path more than one reading, "" if nothing
// does.
func ambiguity(path string) string {
	if path == "" || path[0] != '/' {
		return "no slash at its beginning"
	}
	ascii := true
	segment := 1 // where the segment begins
	for i := 1; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			switch s := path[segment:i]; {
			case s == "." || s == "..":
				return "a dot segment"
			case s == "" && i < len(path):
				return "an empty segment"
			}
			segment = i + 1
			continue
		}
		switch c := path[i]; {
		case c < ' ' || c == 0x7f:
			return "a control character"
		case c == '%' || c == '\\' || c == ';' || c == '?' || c == '#':
			return `one of the characters %, \, ;, ? and #`
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii && !utf8.ValidString(path) {
		return "bytes that are not UTF-8"
	}
	return ""
}

// wellEscaped reports whether raw is an encoding of path in which no slash and
// nothing that never needs it is encoded. "" stands for the encoding that net/url
// would choose.
func wellEscaped(raw, path string) bool {
	if raw == "" {
		return true
	}
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) {
				return false
			}
			hi, lo := digit(raw[i+1]), digit(raw[i+2])
			if hi > 15 || lo > 15 {
				return false
			}
			i += 2
			if c = hi<<4 | lo; c == '/' || unreserved(c) {
				return false
			}
		}
		// The two differ where somebody has changed one of them alone.
		if path == "" || path[0] != c {
			return false
		}
		path = path[1:]
	}
	return path == ""
}

// unreserved tells the characters of RFC 3986, section 2.3, of which it says
// that URIs differing in their encoding "are equivalent" and that they "should
// not be created by URI producers".
func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
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

// parsePath returns the one reading of a path given in configuration.
func parsePath(pattern string) (string, error) {
	if i := strings.Index(strings.ToLower(pattern), "%2f"); i >= 0 {
		return "", fmt.Errorf("%q has more than one reading, so no request surely matches it: it has an encoded slash", pattern)
	}
	path, err := url.PathUnescape(pattern)
	if err != nil {
		return "", err
	}
	if why := ambiguity(path); why != "" {
		return "", fmt.Errorf("%q has more than one reading, so no request surely matches it: it has %s", pattern, why)
	}
	return path, nil
}
