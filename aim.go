package tulle

import (
	"net/http"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/routing"
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
	if hash, ok := r.key(in); ok {
		return r, r.dests[r.split.Pick(hash)], hit.Prefix
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

// pass applies the route to a call that leaves for an unknown host.
func (r *route) pass(base http.RoundTripper, in *http.Request, prefix string) (*http.Response, error) {
	out := in
	if !r.filters.Request.IsZero() || r.filters.Rewrite != nil {
		out = in.WithContext(in.Context())
		if !r.filters.Request.IsZero() {
			out.Header = ownHeader(in.Header)
			r.filters.Request.Apply(out.Header)
		}
		if r.filters.Rewrite != nil {
			r.filters.Rewrite.Apply(out, prefix)
		}
	}
	resp, err := base.RoundTrip(out)
	if resp != nil {
		resp.Request = in
		editResponse(&r.filters, resp)
	}
	return resp, err
}

func editResponse(f *routing.Filters, resp *http.Response) {
	if !f.Response.IsZero() {
		resp.Header = ownHeader(resp.Header)
		f.Response.Apply(resp.Header)
	}
}

// ownHeader returns a header map that may be changed. Its values are those of
// h, so they may be replaced but not written to.
func ownHeader(h http.Header) http.Header {
	own := make(http.Header, len(h)+1)
	for k, v := range h {
		own[k] = v[:len(v):len(v)]
	}
	return own
}
