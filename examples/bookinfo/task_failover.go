package main

import (
	"context"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/health"
)

// failoverTask kills the endpoints of ratings in the zone of their callers,
// one after the other, and has them come back.
func failoverTask() task {
	v3 := []tulle.Route{toReviews("everybody", map[string]uint32{"v3": 1})}
	// Two of the three endpoints are to go at once.
	with := func(ramp time.Duration) rules {
		return rules{routes: v3, retry: true, nearest: true, outliers: &health.Outliers{
			BaseEjectionTime: time.Second, MaxEjectionPercent: 67, Ramp: ramp,
		}}
	}
	// Shares are exact while no endpoint is on its way back, as one may be from
	// an earlier step.
	const none, long = -1, 10 * time.Second
	near := func(f *fleet) []*process { return f.in("a", "ratings") }
	base := step{rules: with(none), see: zoneOfRatings, count: countEndpoints}
	whole, half, gone, back := base, base, base, base
	whole.about = "All are well. What can stay in the zone does."
	whole.expect = map[string]float64{"zone a": 1}
	half.about = "One of the two endpoints in zone a is killed. The other is trusted with 1.4 times its share."
	half.expect = map[string]float64{"zone a": .7, "zone b": .3}
	half.trouble = func(ctx context.Context, f *fleet) (func(context.Context) error, error) {
		end := f.strike(near(f)[:1])
		return end, f.untilLeftOut(ctx, near(f)[:1])
	}
	gone.about = "Both are killed. Everything goes to zone b, and no page lacks its stars."
	gone.expect = map[string]float64{"zone b": 1}
	gone.trouble = func(ctx context.Context, f *fleet) (func(context.Context) error, error) {
		end := f.strike(near(f))
		return end, f.untilLeftOut(ctx, near(f))
	}
	back.about = "Both are back, and are not overrun: zone a takes its calls back little by little."
	back.rules = with(long)
	back.expect, back.besides = map[string]float64{"zone b": 1}, map[string]int{"zone a": 100}
	back.trouble = func(ctx context.Context, f *fleet) (func(context.Context) error, error) {
		return done, f.outAndBack(ctx, near(f), f.strike(near(f)))
	}
	steps := []step{whole, half, gone, back}
	for i, of := range []struct{ calls, out int }{{100, 0}, {1000, 1}, {100, 2}, {200, 0}} {
		steps[i].calls, steps[i].counted = of.calls, map[string]span{leftOut: exactly(of.out)}
	}
	return task{
		name:  "failover",
		title: "failover between zones",
		about: "Ratings has two endpoints in zone a, where its callers are, and one in zone b. Calls that\n" +
			"stay in the zone are faster and cost less. The mesh of reviews v3 keeps them there as long\n" +
			"as the endpoints there can take them, and no longer. Without, calls go anywhere.",
		steps:   steps,
		without: rules{routes: v3, retry: true},
	}
}

// zoneOfRatings tells in which zone the stars of a page came from.
func zoneOfRatings(p page) string {
	if what := starsOfReviews(p); what != "stars" {
		return what
	}
	return "zone " + p.Reviews.Ratings.Zone
}
