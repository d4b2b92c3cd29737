package authn

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/form"
	"github.com/tulle-mesh/tulle/outcome"
)

// Middleware wraps a Handler: what is not authenticated is answered with
// problem+json (RFC 9457), and what is reaches next with its principal and
// claims in the context, as Attach puts them there. A request without a token
// is refused like any other. Under Observe all requests reach next as they
// came.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := v.Authenticate(r)
		switch refused, ok := errors.AsType[*Error](err); {
		case v.policy.Mode == outcome.Observe:
			next.ServeHTTP(w, r)
		case ok:
			refused.write(w)
		default:
			through := v.Attach(r, t)
			defer form.RemoveFiles(r, through)
			next.ServeHTTP(w, through)
		}
	})
}

// Attach returns a copy of a request for the handler: with the principal and
// the claims of t in its context, without the header fields of ClaimHeaders
// that it came with, but with those that t makes, and without the token if
// Strip is set. The zero Token puts nothing in the context and makes no
// fields, for requests that may come without one. Under Observe it returns r.
func (v *Verifier) Attach(r *http.Request, t Token) *http.Request {
	if v.policy.Mode == outcome.Observe {
		return r
	}
	ctx := r.Context()
	if !t.IsZero() {
		ctx = identity.WithClaims(identity.NewContext(ctx, t.Principal), t.Claims)
	}
	r = r.WithContext(ctx)
	strip := v.policy.Strip && !t.IsZero()
	if !strip && len(v.policy.ClaimHeaders) == 0 {
		return r
	}
	// Its values stay shared: they are left alone.
	old := r.Header
	r.Header = make(http.Header, len(old)+len(v.policy.ClaimHeaders))
	for name, values := range old {
		if strip && name == v.policy.Header || v.claims(name) {
			continue
		}
		r.Header[name] = values
	}
	for name, claim := range v.policy.ClaimHeaders {
		if value, ok := listed(t.Claims.Strings(claim)); ok && fieldValue(value) {
			r.Header.Set(name, value)
		}
	}
	if fields := r.Header["Connection"]; len(fields) > 0 && len(v.policy.ClaimHeaders) > 0 {
		v.keep(r.Header, fields)
	}
	return r
}

// listed joins the values of a claim. One with a comma among several would be
// two to whoever takes them apart again.
func listed(values []string) (string, bool) {
	if len(values) > 1 && slices.ContainsFunc(values, func(s string) bool { return strings.Contains(s, ",") }) {
		return "", false
	}
	value := strings.Join(values, ",")
	return value, value != ""
}

// keep takes our fields out of those that are said to be of the connection
// alone. A reverse proxy would not hand them on, at the wish of a caller.
func (v *Verifier) keep(h http.Header, fields []string) {
	ours := false
	var others []string
	for _, field := range fields {
		for name := range strings.SplitSeq(field, ",") {
			name = strings.Trim(name, " \t")
			if v.claims(name) {
				ours = true
			} else if name != "" {
				others = append(others, name)
			}
		}
	}
	switch {
	case !ours:
	case len(others) == 0:
		delete(h, "Connection")
	default:
		h["Connection"] = []string{strings.Join(others, ", ")}
	}
}

// claims tells whether a field could be taken for one of ClaimHeaders.
func (v *Verifier) claims(name string) bool {
	if len(v.policy.ClaimHeaders) == 0 {
		return false
	}
	name = fold(name)
	for ours := range v.policy.ClaimHeaders {
		if fold(ours) == name {
			return true
		}
	}
	return false
}

// fold makes the names of fields alike that programs behind us may not tell
// apart: CGI, and all that is made after it, knows only underscores.
func fold(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

// fieldValue reports whether a claim can be the value of a field. One with a
// line break could make fields of its own.
func fieldValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return strings.TrimSpace(value) == value
}

// problem is the body of RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// write answers a request that was refused.
func (e *Error) write(w http.ResponseWriter) {
	status := e.Status()
	h := w.Header()
	if e.challenge != "" {
		h.Set("WWW-Authenticate", e.challenge)
	}
	if e.Kind == KeysUnavailable {
		h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(e.RetryAfter.Seconds())))))
	}
	h.Set("Content-Type", "application/problem+json")
	// What was refused to one must not be served to another.
	h.Set("Cache-Control", "no-store")
	body, _ := json.Marshal(problem{"about:blank", http.StatusText(status), status, e.Text()}) // of texts and a number
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}
