package tulle

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
)

// Explanation says where a request would go and why.
type Explanation struct {
	// Host is the host that the request names.
	Host string `json:"host"`
	// Route is the route that it matches, "" for none; Match is the position
	// in Route.Match of what held.
	Route string `json:"route,omitempty"`
	Match int    `json:"match,omitempty"`
	// Answer is why the mesh would answer or refuse the call itself, NoReason
	// if it would not.
	Answer outcome.Reason `json:"answer,omitzero"`
	// Unknown is true for a host that no service has.
	Unknown bool `json:"unknown,omitempty"`
	// Destinations are those that a call may go to: one, unless a split
	// decides by chance. Of a call that a key binds there is only its own.
	Destinations []ExplainedDestination `json:"destinations,omitempty"`
}

// ExplainedDestination is a place that a request may go to.
type ExplainedDestination struct {
	Service string `json:"service"`
	Subset  string `json:"subset,omitempty"`
	// Share is the part of such calls that goes there, up to 1.
	Share float64 `json:"share"`
	// Policies are in force there, with their defaults filled in.
	Policies Policies `json:"policies"`
	// Endpoints are the addresses that can be picked now, in order. Why says
	// why there are none.
	Endpoints []string `json:"endpoints"`
	Why       string   `json:"why,omitempty"`
}

// Explain says what would become of a request that was sent now, without
// sending or counting anything. It does not read the request's body.
func (m *Mesh) Explain(r *http.Request) Explanation {
	p := m.plan.Load()
	route, dests, hit := p.lead(r)
	e := Explanation{Match: hit.Match}
	if r.URL != nil {
		e.Host = r.URL.Host
	}
	if route != nil {
		e.Route = route.name
	}
	switch {
	case route != nil && route.filters.Redirect != nil:
		e.Answer = outcome.Redirected
	case route != nil && route.filters.Direct != nil:
		e.Answer = outcome.DirectResponse
	case len(dests) == 0:
		e.Unknown = true
		if route == nil && p.refuse != nil && p.refuse.Mode == outcome.Enforce {
			e.Answer = outcome.UnknownHost
		}
	}
	chance, bound := uint64(0), false
	if len(dests) > 1 {
		chance, bound = hash(route.sticky, r)
	}
	for i, d := range dests {
		share := 1.0
		if bound && i != route.split.Pick(chance^route.salt) {
			continue
		} else if !bound && len(dests) > 1 {
			share = p.share(route, i)
		}
		e.Destinations = append(e.Destinations, d.explain(share))
	}
	return e
}

// share returns the part of a split that falls to destination i.
func (p *plan) share(r *route, i int) float64 {
	var weight, sum float64
	for j, d := range p.splitOf(r) {
		sum += float64(d.Weight)
		if i == j {
			weight = float64(d.Weight)
		}
	}
	if sum == 0 {
		return 1 / float64(len(r.dests))
	}
	return weight / sum
}

func (p *plan) splitOf(r *route) []Destination {
	for i, o := range p.list {
		if o == r {
			return p.config.Routes[i].Split
		}
	}
	return nil
}

func (d *destination) explain(share float64) ExplainedDestination {
	e := ExplainedDestination{
		Service: d.service.name, Subset: d.subset.name, Share: share, Policies: d.policies.effective(),
	}
	g := d.subset.gen.Load()
	for _, known := range g.usable() {
		e.Endpoints = append(e.Endpoints, known.Addr())
	}
	switch b := d.breaker; {
	case g.picker == nil:
		e.Why = g.why().Error()
	case b != nil && d.policies.Breaker.Mode == outcome.Enforce && b.State() != breaker.Closed && !b.Due(time.Now()):
		e.Why = "the breaker is " + b.State().String()
	}
	return e
}

// String tells the explanation in lines for a person.
func (e Explanation) String() string {
	var b strings.Builder
	b.WriteString(e.Host)
	if e.Route != "" {
		fmt.Fprintf(&b, ": route %s (match %d)", e.Route, e.Match)
	}
	switch {
	case e.Answer != outcome.NoReason:
		b.WriteString(": " + e.Answer.Text())
	case e.Unknown:
		b.WriteString(": passes through, no service has this host")
	}
	for _, d := range e.Destinations {
		fmt.Fprintf(&b, "\n  %.4g %% to %s, policies: %s", 100*d.Share, label(d.Service, d.Subset), d.Policies)
		if d.Why != "" {
			b.WriteString("\n    refused: " + d.Why)
		} else {
			b.WriteString("\n    one of " + strings.Join(d.Endpoints, ", "))
		}
	}
	return b.String()
}
