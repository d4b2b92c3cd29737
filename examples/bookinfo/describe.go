package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/match"
)

// describe tells rules in a line each.
func describe(r rules) []string {
	var lines []string
	for _, route := range r.routes {
		for _, m := range route.Match {
			for _, what := range effects(route) {
				lines = append(lines, subject(m)+" "+what)
			}
		}
	}
	if r.retry {
		lines = append(lines, "what failed, and can be repeated, is tried once more elsewhere")
	}
	if o := r.outliers; o != nil {
		e := o.Effective()
		lines = append(lines, fmt.Sprintf("an endpoint that fails %d calls in a row is left out, for %v at first; then one call tries it",
			e.Consecutive5xx, e.BaseEjectionTime))
		if e.Ramp > 0 {
			lines = append(lines, fmt.Sprintf("from its return it grows into its share in %v", e.Ramp))
		}
	}
	if !r.plain {
		lines = append(lines, "details is called over TLS, by http URLs")
	}
	if r.fresh {
		lines = append(lines, "connections to details are used once, so that each call sees its certificate")
	}
	if r.guard != nil {
		lines = append(lines, conditions(*r.guard)...)
	}
	if r.grace > 0 {
		lines = append(lines, fmt.Sprintf("a process that is told to stop goes on for %v and says so", r.grace))
	}
	if r.nearest {
		lines = append(lines, "endpoints in the caller's own zone come first")
	}
	return lines
}

// conditions tells what requests to productpage have to pass.
func conditions(g tulle.Guard) []string {
	var lines []string
	if g.RateLimit != nil {
		for _, p := range g.RateLimit.Effective().Policies {
			who := "all together"
			switch {
			case p.Key.Source:
				who = "each address"
			case p.Key.Cookie != "":
				who = "each " + p.Key.Cookie
			}
			lines = append(lines, fmt.Sprintf("%s may look at productpage %d times at once, and %d times in %v", who, p.Burst, p.Requests, p.Period))
		}
	}
	if g.Authn != nil {
		for _, i := range g.Authn.Issuers {
			lines = append(lines, fmt.Sprintf("productpage asks for a token of %s for %s", i.Issuer, strings.Join(i.Audiences, " or ")))
		}
	}
	if g.Authz != nil {
		for _, r := range g.Authz.Rules {
			lines = append(lines, r.Action.String()+": "+r.Name)
		}
	}
	return lines
}

// subject tells which calls a match is of.
func subject(m match.Request) string {
	parts := []string{strings.Join(m.Hosts, " or ")}
	for _, h := range m.Headers {
		parts = append(parts, fmt.Sprintf("with %s: %s", h.Name, h.Exact))
	}
	return strings.Join(parts, " ")
}

// effects tells what a route does to calls.
func effects(route tulle.Route) []string {
	var lines, to []string
	for _, d := range route.Split {
		part := d.Service + " " + d.Subset
		if len(route.Split) > 1 {
			part += fmt.Sprintf(" (weight %d)", d.Weight)
		}
		to = append(to, part)
	}
	if len(to) > 0 {
		lines = append(lines, "goes to "+strings.Join(to, ", "))
	}
	for _, m := range route.Mirrors {
		lines = append(lines, "is copied to "+m.Service+" "+m.Subset)
	}
	if limit := route.Policies.Timeout; limit > 0 {
		lines = append(lines, fmt.Sprintf("must be over in %v", limit))
	}
	if r := route.Policies.Retry; r != nil && r.PerTry > 0 {
		lines = append(lines, fmt.Sprintf("is tried once more elsewhere if it fails, or has no answer within %v", r.PerTry))
	}
	if b := route.Policies.Breaker; b != nil {
		e := b.Effective()
		when := fmt.Sprintf("when %.0f %% of at least %d calls have failed", 100*e.FailureRate, e.MinCalls)
		if e.Consecutive > 0 {
			when = fmt.Sprintf("after %d failures in a row, or %s", e.Consecutive, when)
		}
		lines = append(lines, fmt.Sprintf("is refused for %v %s, and then tried", e.OpenFor, when))
	}
	if f := route.Policies.Fault; f != nil {
		lines = append(lines, trouble(*f)...)
	}
	return lines
}

// trouble tells what a fault does to calls.
func trouble(f fault.Policy) []string {
	var lines []string
	if d := f.Delay; d != nil {
		lines = append(lines, fmt.Sprintf("waits for %v first", d.Duration)+often(d.Percent))
	}
	if a := f.Abort; a != nil {
		lines = append(lines, fmt.Sprintf("is answered %d %s in the place of the service", a.Status, http.StatusText(a.Status))+often(a.Percent))
	}
	return lines
}

func often(percent float64) string {
	if percent == 100 {
		return ""
	}
	return fmt.Sprintf(", in %v %% of the cases", percent)
}

// toReviews is a route that splits calls of reviews among versions. Conditions
// on headers narrow it to some of the calls.
func toReviews(name string, weights map[string]uint32, headers ...match.Value) tulle.Route {
	r := tulle.Route{Name: name, Match: []match.Request{{Hosts: []string{"reviews"}, Headers: headers}}}
	for _, version := range slices.Sorted(maps.Keys(weights)) {
		r.Split = append(r.Split, tulle.Destination{Service: "reviews", Subset: version, Weight: weights[version]})
	}
	return r
}
