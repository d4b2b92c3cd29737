package main

import (
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/match"
)

// faultDelay is what an injected delay takes. It fits into the time that
// reviews gives a call of ratings in any case.
const faultDelay = 600 * time.Millisecond

// faultsTask makes calls of ratings slow, and then fail, for one user.
func faultsTask() task {
	v3 := toReviews("everybody", map[string]uint32{"v3": 1})
	hit := func(calls int, f fault.Policy, jason string) step {
		return step{
			rules: rules{routes: []tulle.Route{v3, {
				Name:     "jason",
				Match:    []match.Request{{Hosts: []string{"ratings"}, Headers: []match.Value{{Name: userHeader, Exact: "jason"}}}},
				Policies: tulle.Policies{Fault: &f},
			}}},
			users: []string{"jason", ""}, calls: calls,
			see:    starsByUser,
			expect: map[string]float64{jason: 0.5, "others: stars": 0.5}, besides: map[string]int{"others: stars, late": stalls},
		}
	}
	slow := hit(10, fault.Policy{Delay: &fault.Delay{Percent: 100, Duration: faultDelay}}, "jason: stars, late")
	slow.about = "Ratings is slow, for jason alone. Every second page is for him."
	broken := hit(100, fault.Policy{Abort: &fault.Abort{Percent: 100, Status: http.StatusInternalServerError}}, "jason: no stars")
	broken.about = "Ratings fails, for jason alone."
	broken.besides["jason: no stars, late"] = stalls
	return task{
		name:  "faults",
		title: "fault injection",
		about: "What becomes of the page when ratings is slow or broken? The mesh of reviews v3 can\n" +
			"make it look so, for a user who tries it out, while ratings is well and others shop.",
		steps:   []step{slow, broken},
		without: rules{routes: []tulle.Route{v3}},
	}
}

// starsByUser tells who got stars, and whether they took as long as an
// injected delay.
func starsByUser(p page) string {
	who := "others"
	if p.User != "" {
		who = p.User
	}
	return who + ": " + starsInTime(p, faultDelay)
}

// starsInTime tells whether a page has stars, and whether that took so long.
func starsInTime(p page, late time.Duration) string {
	what := starsOfReviews(p)
	if p.Review.Took >= late {
		what += ", late"
	}
	return what
}
