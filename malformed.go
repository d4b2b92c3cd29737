package tulle

import (
	"net/http"
	"strings"
)

// malformed reports whether no transport can send the request, so that its
// failure is not held against an endpoint. It is asked after a failure only.
func malformed(r *http.Request) bool {
	if r.URL == nil || r.Header == nil || r.URL.Host == "" || r.Method != "" && !isToken(r.Method) {
		return true
	}
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return true
	}
	if strings.ContainsFunc(r.URL.RequestURI(), control) || strings.ContainsFunc(r.Host, control) {
		return true
	}
	for name := range r.Trailer {
		switch http.CanonicalHeaderKey(name) {
		case "Transfer-Encoding", "Trailer", "Content-Length":
			return true
		}
	}
	return r.ContentLength > 0 && r.Body == nil || badFields(r.Header) || badFields(r.Trailer)
}

func control(c rune) bool { return c < ' ' || c == 0x7f }

func badFields(h http.Header) bool {
	for name, values := range h {
		if !isToken(name) {
			return true
		}
		for _, v := range values {
			if strings.ContainsFunc(v, func(c rune) bool { return control(c) && c != '\t' }) {
				return true
			}
		}
	}
	return false
}

// isToken reports whether s is a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
