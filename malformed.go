package tulle

import (
	"net/http"
	"strings"

	"github.com/tulle-mesh/tulle/internal/token"
)

// malformed reports whether no transport can send the request, so that its
// failure is not held against an endpoint. It is asked after a failure only.
func malformed(r *http.Request) bool {
	if r.URL == nil || r.Header == nil || r.URL.Host == "" || r.Method != "" && !token.Is(r.Method) {
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
		if !token.Is(name) {
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
