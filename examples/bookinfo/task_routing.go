package main

import (
	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/match"
)

// routingTask sends everybody to one version, and one user to another.
func routingTask() task {
	const calls = 100
	v1 := toReviews("everybody", map[string]uint32{"v1": 1})
	v2 := toReviews("jason", map[string]uint32{"v2": 1}, match.Value{Name: userHeader, Exact: "jason"})
	all := rules{routes: []tulle.Route{v1}, retry: true}
	jason := rules{routes: []tulle.Route{v1, v2}, retry: true}
	return task{
		name:  "routing",
		title: "request routing",
		about: "Three versions of reviews run side by side. Routes in the mesh of productpage decide\n" +
			"by what is in a request which of them gets it; the URL stays http://reviews/.",
		steps: []step{{
			about: "All calls go to v1, which knows no stars.",
			rules: all, calls: calls, see: versionOfReviews, expect: map[string]float64{"v1": 1},
		}, {
			about: "Jason is to try v2. Productpage names the user in a header, and a route asks for it.",
			rules: jason, users: []string{"jason"}, calls: calls, see: versionOfReviews, expect: map[string]float64{"v2": 1},
		}, {
			about: "Everybody else notices nothing.",
			rules: jason, calls: calls, see: versionOfReviews, expect: map[string]float64{"v1": 1},
		}},
		without: rules{retry: true},
	}
}

// versionOfReviews tells which version of reviews a page was made with.
func versionOfReviews(p page) string {
	if p.Review.Error != "" {
		return "no reviews"
	}
	return p.Review.Version
}
