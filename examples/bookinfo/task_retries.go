package main

import (
	"context"
	"net/http"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/fault"
)

// retriesTask makes one of three endpoints of ratings fail.
func retriesTask() task {
	const calls = 200
	v3 := []tulle.Route{toReviews("everybody", map[string]uint32{"v3": 1})}
	base := step{rules: rules{routes: v3, retry: true}, calls: calls, see: starsOfReviews, expect: map[string]float64{"stars": 1}}
	failing, killed := base, base
	failing.about, failing.trouble = "One of the three endpoints of ratings answers 503.", failRatings
	killed.about, killed.trouble = "One of the three is killed, and nothing listens at its address.", killRatings
	return task{
		name:  "retries",
		title: "retries through a failing endpoint",
		about: "Reviews v3 asks ratings for stars. A third of those calls goes to an endpoint that\n" +
			"fails, until the mesh of reviews tries each once more, elsewhere. Without that a\n" +
			"page has no stars, but a page it is: reviews and productpage live with a hole.",
		steps:   []step{failing, killed},
		without: rules{routes: v3},
	}
}

// starsOfReviews tells whether a page has the stars that ratings knows.
func starsOfReviews(p page) string {
	switch {
	case p.Review.Error != "":
		return "no reviews"
	case p.Reviews.Ratings == nil || p.Reviews.Ratings.Error != "":
		return "no stars"
	}
	return "stars"
}

func failRatings(ctx context.Context, f *fleet) (func(context.Context) error, error) {
	return f.burden(ctx, f.of("ratings")[:1], failing())
}

// failing is the trouble of a service that answers 503 to everybody.
func failing() fault.Policy {
	return fault.Policy{Abort: &fault.Abort{Percent: 100, Status: http.StatusServiceUnavailable}}
}

func killRatings(_ context.Context, f *fleet) (func(context.Context) error, error) {
	return f.strike(f.of("ratings")[:1]), nil
}
