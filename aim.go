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
		if hit, ok = p.names.Match(in); !ok {
			return nil, nil, ""
		}
		return hit.Action, hit.Action.dests[0], hit.Prefix
	}
	r := hit.Action
	switch {
	case r.answers():
		return r, nil, hit.Prefix
	case len(r.dests) == 0:
		if named, ok := p.names.Match(in); ok {
			return r, r.byHost[named.Action.dests[0].service], hit.Prefix
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
