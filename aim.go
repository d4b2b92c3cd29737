package tulle

import (
	"net/http"

	"github.com/tulle-mesh/tulle/outcome"
)

// aim finds the route of a request and the destination on it. The route is
// nil for a host that nothing knows, the destination is nil where a route
// answers itself or leads to such a host. It draws at most once.
func (p *plan) aim(in *http.Request, draw func() uint64) (*route, *destination, string) {
	if in.URL == nil {
		return nil, nil, ""
	}
	hit, ok := p.routes.Match(in)
	if !ok {
		if r := p.named(in); r != nil {
			return r, r.dests[0], "/"
		}
		return nil, nil, ""
	}
	r := hit.Action
	switch {
	case r.answers():
		return r, nil, hit.Prefix
	case len(r.dests) == 0:
		if named := p.named(in); named != nil {
			return r, r.byHost[named.dests[0].service], hit.Prefix
		}
		return r, nil, hit.Prefix
	case len(r.dests) == 1:
		return r, r.dests[0], hit.Prefix
	}
	// A cohort is all calls with the same key; those without one are spread.
	// The salt makes cohorts of one route independent of those of another.
	if hash, ok := r.key(in); ok {
		return r, r.dests[r.split.Pick(hash^r.salt)], hit.Prefix
	}
	return r, r.dests[r.split.Pick(draw())], hit.Prefix
}

// named returns the route of the service that has the request's host.
func (p *plan) named(in *http.Request) *route {
	if r := p.exact[in.URL.Host]; r != nil {
		return r
	}
	hit, _ := p.names.Match(in)
	return hit.Action
}

// key returns the hash of what calls on the route are bound by.
func (r *route) key(in *http.Request) (uint64, bool) {
	if r.sticky == nil {
		return 0, false
	}
	return r.sticky.Hash(in)
}

// answers reports whether the route itself answers its calls.
func (r *route) answers() bool { return r.filters.Redirect != nil || r.filters.Direct != nil }

// answer returns the response of a route that answers itself.
func (r *route) answer(in *http.Request, prefix string) (*http.Response, outcome.Reason) {
	if d := r.filters.Redirect; d != nil {
		return d.Response(in, prefix), outcome.Redirected
	}
	return r.filters.Direct.Response(in), outcome.DirectResponse
}

// ownHeader returns a header map that may be changed. Its values are those of
// h, so they may be replaced but not written to. A nil header is an error that
// is the transport's to report, so it is left to it.
func ownHeader(h http.Header) http.Header {
	own := make(http.Header, len(h)+1)
	for k, v := range h {
		own[k] = v[:len(v):len(v)]
	}
	return own
}
