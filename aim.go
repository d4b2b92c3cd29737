package tulle

import (
	"net/http"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/routing"
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
	r, dests, hit := p.lead(in)
	to := aim{route: r, part: -1, prefix: hit.Prefix}
	if len(dests) == 0 {
		return to
	}
	part := 0
	if len(dests) > 1 {
		// A cohort is all calls with the same key; those without one are
		// spread. The salt makes cohorts of one route independent of those of
		// another.
		chance, ok := hash(r.sticky, in)
		if chance ^= r.salt; !ok {
			chance = draw()
		}
		part = r.split.Pick(chance)
	}
	if to.dest = dests[part]; len(r.calls) > 0 {
		to.part = part
	}
	return to
}

// lead finds the route of a request and the destinations that it may lead to.
// There are none where the route answers itself or leads to an unknown host;
// there is no route for a host that nothing knows.
func (p *plan) lead(in *http.Request) (*route, []*destination, routing.Hit[*route]) {
	if in.URL == nil {
		return nil, nil, routing.Hit[*route]{}
	}
	hit, ok := p.routes.Match(in)
	if !ok {
		if r := p.named(in); r != nil {
			return r, r.dests, routing.Hit[*route]{Prefix: "/"}
		}
		return nil, nil, hit
	}
	r := hit.Action
	if len(r.dests) > 0 || r.answers() {
		return r, r.dests, hit
	}
	if named := p.named(in); named != nil {
		return r, r.byHost[named.dests[0].service], hit
	}
	if len(r.hosted) == 0 || !r.hosted[hit.Match] {
		// A route that names no host knows none.
		return nil, nil, hit
	}
	return r, nil, hit
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
