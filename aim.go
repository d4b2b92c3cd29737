package tulle

import (
	"net/http"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
)

// aim is what a request is for.
type aim struct {
	// route is nil for a host that nothing knows, dest is nil where the route
	// answers itself or leads to such a host.
	route *route
	dest  *destination
	// part is the part of the route's split that dest is, -1 without one.
	part int
	// prefix is what the route matched of the path.
	prefix string
}

// aim finds the route of a request and the destination on it. It draws at
// most once.
func (p *plan) aim(in *http.Request, draw func() uint64) aim {
	if in.URL == nil {
		return aim{}
	}
	hit, ok := p.routes.Match(in)
	if !ok {
		if r := p.named(in); r != nil {
			return aim{r, r.dests[0], -1, "/"}
		}
		return aim{}
	}
	r := hit.Action
	switch len(r.dests) {
	case 0:
		if r.answers() {
			return aim{r, nil, -1, hit.Prefix}
		}
		if named := p.named(in); named != nil {
			return aim{r, r.byHost[named.dests[0].service], -1, hit.Prefix}
		}
		if len(r.hosted) == 0 || !r.hosted[hit.Match] {
			// A route that names no host knows none.
			return aim{}
		}
		return aim{r, nil, -1, hit.Prefix}
	case 1:
		return aim{r, r.dests[0], 0, hit.Prefix}
	}
	// A cohort is all calls with the same key; those without one are spread.
	// The salt makes cohorts of one route independent of those of another.
	chance, ok := hash(r.sticky, in)
	if chance ^= r.salt; !ok {
		chance = draw()
	}
	part := r.split.Pick(chance)
	return aim{r, r.dests[part], part, hit.Prefix}
}

// named returns the route of the service that has the request's host.
func (p *plan) named(in *http.Request) *route {
	if r := p.exact[in.URL.Host]; r != nil {
		return r
	}
	hit, _ := p.names.Match(in)
	return hit.Action
}

// hash returns the hash of the request by a key, if there is one and the
// request has it.
func hash(key *match.Key, in *http.Request) (uint64, bool) {
	if key == nil {
		return 0, false
	}
	return key.Hash(in)
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
