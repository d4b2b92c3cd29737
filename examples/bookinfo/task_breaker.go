package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
)

const (
	// toRatings is what is counted of the requests that come to ratings.
	toRatings = "requests at ratings"
	// opened and closed are what is counted of alerts.
	opened = "alerts of opening"
	closed = "alerts of closing"
)

// breakerTask lets ratings fail as a whole, and has those who call it stop.
func breakerTask() task {
	const calls, first = 200, 10
	v3 := toReviews("everybody", map[string]uint32{"v3": 1})
	guarded := tulle.Route{
		Name: "ratings", Match: []match.Request{{Hosts: []string{"ratings"}}},
		Policies: tulle.Policies{Breaker: &breaker.Policy{MinCalls: first, OpenFor: time.Second}},
	}
	base := step{rules: rules{routes: []tulle.Route{v3, guarded}}, see: fateOfRatings, count: countIncidents}
	broken, whole := base, base
	broken.about = "All endpoints of ratings answer 503."
	broken.calls, broken.trouble = calls, failAllRatings
	// While it is open a call may try each second, and a busy machine is slow.
	const tries = 10
	broken.expect, broken.besides = map[string]float64{"refused": 1}, map[string]int{"failed": first + tries}
	broken.counted = map[string]span{toRatings: {first, first + tries}, opened: exactly(1), closed: exactly(0)}
	broken.quote = func(p page) string {
		if h := p.Reviews.Ratings; h != nil && h.RetryAfter > 0 {
			return "two reviews without stars. " + h.Error
		}
		return ""
	}
	whole.about = "Ratings is broken until a trial has failed, and works again before the next one."
	whole.calls, whole.trouble = calls/2, getOverIncident
	whole.expect = map[string]float64{"stars": 1}
	whole.counted = map[string]span{opened: exactly(1), closed: exactly(1)}
	return task{
		name:  "breaker",
		title: "circuit breaking, and the alert",
		about: "When ratings fails as a whole no retry helps, and each call only adds to its burden.\n" +
			"The breaker in the mesh of reviews v3 refuses calls at once while they are likely to\n" +
			"fail, tries now and then, and closes by itself. Somebody is told of it: once when it\n" +
			"opens and once when it closes, by a webhook. Nobody knows without.",
		steps:   []step{broken, whole},
		without: rules{routes: []tulle.Route{v3}},
	}
}

// fateOfRatings tells how the call of ratings went.
func fateOfRatings(p page) string {
	switch h := p.Reviews.Ratings; {
	case p.Review.Error != "" || h == nil:
		return "no reviews"
	case h.Reason == outcome.BreakerOpen.String():
		return "refused"
	case h.Error != "":
		return "failed"
	}
	return "stars"
}

func failAllRatings(ctx context.Context, f *fleet) (func(context.Context) error, error) {
	return f.burden(ctx, f.of("ratings"), failing())
}

// getOverIncident has ratings fail until a breaker has opened, and once more
// after its first trial. When it returns ratings works, and the next trial is
// due. Without a breaker ratings is broken for as many calls.
func getOverIncident(ctx context.Context, f *fleet) (func(context.Context) error, error) {
	end, err := failAllRatings(ctx, f)
	if err != nil {
		return end, err
	}
	due, err := f.refused(ctx)
	if err == nil && !due.IsZero() {
		if err = waitUntil(ctx, due); err == nil {
			due, err = f.refused(ctx)
		}
	}
	if err != nil {
		return end, err
	}
	if err := end(ctx); err != nil {
		return done, err
	}
	return done, waitUntil(ctx, due)
}

// refused looks at pages until calls of ratings are refused, and returns until
// when; it gives up after a while.
func (f *fleet) refused(ctx context.Context) (until time.Time, err error) {
	for range 50 {
		p, err := f.look(ctx, "")
		if err != nil {
			return time.Time{}, err
		}
		if h := p.Reviews.Ratings; h != nil && h.RetryAfter > 0 {
			return time.Now().Add(h.RetryAfter), nil
		}
	}
	return time.Time{}, nil
}

// countIncidents counts the requests that come to ratings, and the alerts. It
// waits for those that the state of the mesh of reviews v3 says there must be.
func countIncidents(ctx context.Context, f *fleet) (func(context.Context) (tally, error), error) {
	before, err := f.requests(ctx, "ratings")
	if err != nil {
		return nil, err
	}
	old, _ := f.alerts.after(0)
	return func(ctx context.Context) (tally, error) {
		requests, err := f.requests(ctx, "ratings")
		if err != nil {
			return tally{}, err
		}
		ratings, err := f.ratings(ctx)
		if err != nil {
			return tally{}, err
		}
		due := 0
		for _, b := range ratings.Breakers {
			if due += 2 * int(b.Opened); b.State != breaker.Closed {
				due--
			}
		}
		alerts, err := f.alerts.await(ctx, len(old), due)
		if err != nil {
			return tally{}, err
		}
		got := tally{numbers: map[string]int{toRatings: int(requests - before), opened: 0, closed: 0}}
		for _, a := range alerts {
			got.numbers[map[bool]string{true: opened, false: closed}[a.Event.Open]]++
			for i, text := range a.lines() {
				got.lines = append(got.lines, [2]string{[]string{"alert", ""}[min(i, 1)], text})
			}
		}
		return got, nil
	}, nil
}

// requests returns how many have come to all processes of a service.
func (f *fleet) requests(ctx context.Context, service string) (sum uint64, err error) {
	for _, p := range f.of(service) {
		n, err := p.requests(ctx)
		if err != nil {
			return 0, fmt.Errorf("requests: %w", err)
		}
		sum += n
	}
	return sum, nil
}
