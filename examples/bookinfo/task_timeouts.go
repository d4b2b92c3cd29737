package main

import (
	"context"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/match"
)

// slowness is how long ratings takes for an answer while it is slow. Between
// it and a time-out lies what a busy machine may add.
const slowness = 600 * time.Millisecond

// stalls is how many of a step's pages may be late all the same, where the
// machine has so much else to do that a process waits for its turn so long.
const stalls = 2

// timeoutsTask lets ratings be slow, and bounds how long others wait for it.
func timeoutsTask() task {
	v3 := toReviews("everybody", map[string]uint32{"v3": 1})
	base := step{
		calls: 6, trouble: slowRatings,
		see: func(p page) string { return starsInTime(p, slowness) },
	}
	inner, outer := base, base
	inner.about = "Reviews waits for ratings for a moment, and shows what it has."
	inner.rules.routes = []tulle.Route{v3, {
		Name: "ratings", Match: []match.Request{{Hosts: []string{"ratings"}}},
		Policies: tulle.Policies{Timeout: slowness / 6},
	}}
	inner.expect, inner.besides = map[string]float64{"no stars": 1}, map[string]int{"no stars, late": stalls}
	outer.about = "Productpage waits for reviews, which waits for ratings. A limit further out costs more:\n" +
		"     reviews is told how long it is waited for, and comes at the last moment or too late."
	limited := v3
	limited.Policies.Timeout = slowness / 3
	outer.rules.routes = []tulle.Route{limited}
	outer.see = func(p page) string {
		what := starsInTime(p, slowness)
		if what == "no reviews" || what == "no stars" {
			return "no reviews, or just so"
		}
		return what
	}
	outer.expect, outer.besides = map[string]float64{"no reviews, or just so": 1}, map[string]int{"no reviews, late": stalls, "no stars, late": stalls}
	return task{
		name:  "timeouts",
		title: "time-outs",
		about: "All endpoints of ratings take " + slowness.String() + " for an answer. Without a time-out whoever\n" +
			"calls them is as slow as they are, and so is the page. With one there is a page in time,\n" +
			"and it lacks what is beyond the time-out.",
		steps:   []step{inner, outer},
		without: rules{routes: []tulle.Route{v3}},
	}
}

// slowRatings slows ratings itself down: the meshes of those who call know
// nothing of it.
func slowRatings(ctx context.Context, f *fleet) (func(context.Context) error, error) {
	return f.burden(ctx, f.of("ratings"), fault.Policy{Delay: &fault.Delay{Percent: 100, Duration: slowness}})
}
