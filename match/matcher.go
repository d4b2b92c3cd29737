package match

import (
	"net/http"
	"slices"

	"github.com/tulle-mesh/tulle/identity"
)

// Matcher is a compiled [Request]. It is immutable and safe for concurrent use.
type Matcher struct {
	hosts      []Host
	path       pathMatcher
	methods    []string
	headers    []valueMatcher
	query      []valueMatcher
	principals []string
}

// Compile returns the matcher of m, or every fault of m as [Request.Validate]
// reports them. It keeps nothing of m's slices.
func Compile(m Request) (*Matcher, error) {
	var c compiler
	matcher := c.request(m)
	if err := c.err(); err != nil {
		return nil, err
	}
	return matcher, nil
}

// Validate reports every fault of m, each with its path, such as
// "headers[1].regex: ...". It returns nil exactly if [Compile] succeeds.
func (m Request) Validate() error {
	_, err := Compile(m)
	return err
}

// Matches reports whether every condition holds for r. It reads r's URL, Host,
// Method, Header, TLS and context. For a request whose host and path are
// canonical it allocates only where an expression is judged against several
// fields of one name, or against a parameter with escapes.
func (m *Matcher) Matches(r *http.Request) bool {
	if r.URL == nil {
		return false
	}
	if len(m.hosts) > 0 {
		name, port := CanonicalHost(r)
		if !slices.ContainsFunc(m.hosts, func(h Host) bool { return h.matches(name, port) }) {
			return false
		}
	}
	if m.path.Path != (Path{}) && !m.path.matches(CanonicalPath(r.URL)) {
		return false
	}
	return m.matchesRest(r)
}

// MatchesPath is [Matcher.Matches] for who has judged the host already and knows
// path, the canonical path of r's URL: conditions on the host are not judged.
func (m *Matcher) MatchesPath(path string, r *http.Request) bool {
	if m.path.Path != (Path{}) && !m.path.matches(path) {
		return false
	}
	return m.matchesRest(r)
}

func (m *Matcher) matchesRest(r *http.Request) bool {
	if len(m.methods) > 0 {
		method := r.Method
		if method == "" {
			method = http.MethodGet // "For client requests, an empty string means GET."
		}
		if !slices.Contains(m.methods, method) {
			return false
		}
	}
	for i := range m.headers {
		if !m.headers[i].header(r.Header) {
			return false
		}
	}
	for i := range m.query {
		if !m.query[i].parameter(r.URL.RawQuery) {
			return false
		}
	}
	if len(m.principals) > 0 {
		principal, ok := identity.FromContext(r.Context())
		return ok && slices.Contains(m.principals, principal.Name)
	}
	return true
}
