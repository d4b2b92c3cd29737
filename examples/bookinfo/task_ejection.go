package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/retry"
)

const (
	// hangPerTry is what an attempt at ratings is given while one may hang.
	hangPerTry = 150 * time.Millisecond
	// leftOut, ejections and trials are what is counted of the endpoints of
	// ratings in the state of the mesh of reviews v3.
	leftOut   = "left out"
	ejections = "ejections"
	trials    = "trials"
)

// ejectionTask stops one of three endpoints of ratings, then kills it, and has
// it come back.
func ejectionTask() task {
	v3 := toReviews("everybody", map[string]uint32{"v3": 1})
	twice := tulle.Route{
		Name: "ratings", Match: []match.Request{{Hosts: []string{"ratings"}}},
		Policies: tulle.Policies{Retry: &retry.Policy{PerTry: hangPerTry, Budget: retry.BudgetPolicy{Ratio: 0.5}}},
	}
	with := func(ramp time.Duration) rules {
		return rules{routes: []tulle.Route{v3, twice}, outliers: &health.Outliers{BaseEjectionTime: time.Second, Ramp: ramp}}
	}
	// Five in a row are met before it is left out, and then one for each trial.
	const met = 5 + 5
	gone := step{
		rules: with(0), calls: 150, see: attemptsAtRatings, expect: map[string]float64{"1 attempt": 1},
		besides: map[string]int{"2 attempts": met, "no stars": stalls},
		count:   countEndpoints, counted: map[string]span{leftOut: exactly(1)},
	}
	stopped, killed := gone, gone
	stopped.about = "One of the three endpoints hangs: its process is stopped."
	stopped.trouble = func(_ context.Context, f *fleet) (func(context.Context) error, error) {
		return f.freeze(f.of("ratings")[:1])
	}
	killed.about = "One of the three is killed."
	killed.trouble = killRatings

	victim := func(f *fleet) []*process { return f.of("ratings")[:1] }
	// The endpoint in question is known when there is a fleet.
	var pid int
	back := step{
		calls: 400, see: func(p page) string { return servedBy(p, pid) },
		count: countEndpoints, counted: map[string]span{leftOut: exactly(0), ejections: exactly(1), trials: {1, 3}},
	}
	returns, grown := back, back
	returns.about = "It is stopped, left out, and goes on. One call tries it, and at first it has few."
	returns.rules = with(0)
	returns.expect, returns.besides = map[string]float64{"other endpoints": 1}, map[string]int{"the one that is back": 80}
	returns.trouble = func(ctx context.Context, f *fleet) (func(context.Context) error, error) {
		end, err := f.freeze(victim(f))
		if err != nil {
			return end, err
		}
		pid = victim(f)[0].pid()
		return done, f.outAndBack(ctx, victim(f), end)
	}
	const ramp = time.Second
	grown.about = "It is killed, left out, and started again. When its time is over it has its share."
	grown.rules = with(ramp)
	grown.expect = map[string]float64{"other endpoints": 2. / 3, "the one that is back": 1. / 3}
	grown.trouble = func(ctx context.Context, f *fleet) (func(context.Context) error, error) {
		if err := f.outAndBack(ctx, victim(f), f.strike(victim(f))); err != nil {
			return done, err
		}
		pid = victim(f)[0].pid()
		return done, waitUntil(ctx, time.Now().Add(ramp))
	}
	return task{
		name:  "ejection",
		title: "ejection and recovery of an endpoint",
		about: "Of three endpoints of ratings one hangs, or is gone. Retries make up for it, but a third\n" +
			"of the pages has to wait for the first attempt to fail, until the mesh of reviews v3\n" +
			"leaves that endpoint out. It comes back by one trial call, and little by little.",
		steps:   []step{stopped, returns, killed, grown},
		without: rules{routes: []tulle.Route{v3, twice}},
	}
}

// done is the end of trouble that is over already.
func done(context.Context) error { return nil }

// attemptsAtRatings tells how many attempts stars took.
func attemptsAtRatings(p page) string {
	if what := starsOfReviews(p); what != "stars" {
		return what
	}
	if n := p.Reviews.Ratings.Attempts; n != 1 {
		return fmt.Sprint(n, " attempts")
	}
	return "1 attempt"
}

// servedBy tells whether the stars of a page came from a process that is back.
func servedBy(p page, back int) string {
	if what := starsOfReviews(p); what != "stars" {
		return what
	}
	if p.Reviews.Ratings.PID == back {
		return "the one that is back"
	}
	return "other endpoints"
}

// countEndpoints tells what the mesh of reviews v3 knows of the endpoints of
// ratings, and how it divides calls over the zones that it tells apart.
func countEndpoints(_ context.Context, f *fleet) (func(context.Context) (tally, error), error) {
	return func(ctx context.Context) (tally, error) {
		ratings, err := f.ratings(ctx)
		if err != nil {
			return tally{}, err
		}
		got := tally{numbers: map[string]int{leftOut: len(ratings.out()), ejections: 0, trials: 0}}
		for _, e := range ratings.Endpoints {
			got.numbers[ejections] += int(e.Outliers.Ejections)
			got.numbers[trials] += int(e.Outliers.Trials)
		}
		for _, e := range ratings.out() {
			for _, h := range e.Holds {
				got.lines = append(got.lines, [2]string{"state", fmt.Sprintf("%s is %s: %s", e.Addr, h.Hold, h.Reason)})
			}
		}
		for _, part := range ratings.Parts {
			if len(ratings.Parts) > 1 {
				place := "elsewhere"
				if part.Zone != "" {
					place = "in zone " + part.Zone
				}
				got.lines = append(got.lines, [2]string{"state", fmt.Sprintf("%s: %d of %d endpoints take %.0f %% of the calls",
					place, part.Available, part.Known, 100*part.Load)})
			}
		}
		return got, nil
	}, nil
}
