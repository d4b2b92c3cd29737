package main

import (
	"context"
	"time"

	"github.com/tulle-mesh/tulle"
)

const (
	// mirrorTimeout is what a call of reviews is given while one of them may
	// hang.
	mirrorTimeout = 500 * time.Millisecond
	// atVersion2 is what is counted of the requests that come to reviews v2.
	atVersion2 = "requests at v2"
)

// mirroringTask tries a version with copies of the calls that another answers.
func mirroringTask() task {
	v1 := toReviews("everybody", map[string]uint32{"v1": 1})
	v1.Policies.Timeout = mirrorTimeout
	mirrored := v1
	mirrored.Mirrors = []tulle.Mirror{{Service: "reviews", Subset: "v2"}}
	halves := toReviews("everybody", map[string]uint32{"v1": 1, "v2": 1})
	halves.Policies.Timeout = mirrorTimeout

	try := func(calls int) step {
		return step{
			rules: rules{routes: []tulle.Route{mirrored}}, calls: calls,
			see: versionOfReviews, expect: map[string]float64{"v1": 1}, besides: map[string]int{"no reviews": stalls},
			count: countVersion2, counted: map[string]span{atVersion2: exactly(calls)},
		}
	}
	// Fewer calls than there may be copies at once, so that none is dropped.
	fine, broken, hanging := try(100), try(100), try(20)
	fine.about = "Pages come from v1, and v2 gets a copy of each call."
	broken.about = "V2 answers 503. The copies fail, and nobody is hurt."
	broken.trouble = func(ctx context.Context, f *fleet) (func(context.Context) error, error) {
		return f.burden(ctx, f.version("reviews", "v2"), failing())
	}
	hanging.about = "V2 hangs: its process is stopped. It sees the copies when it goes on."
	hanging.trouble = func(_ context.Context, f *fleet) (func(context.Context) error, error) {
		return f.freeze(f.version("reviews", "v2"))
	}
	return task{
		name:  "mirroring",
		title: "mirroring",
		about: "Is reviews v2 fit for the calls that there are? The mesh of productpage sends it copies\n" +
			"and throws the answers away. Without that, half of the calls have to be risked on it.",
		steps:   []step{fine, broken, hanging},
		without: rules{routes: []tulle.Route{halves}},
	}
}

// countVersion2 counts the requests that come to reviews v2. It waits until
// all copies that have been sent are among them.
func countVersion2(ctx context.Context, f *fleet) (func(context.Context) (tally, error), error) {
	v2 := f.version("reviews", "v2")[0]
	requests, err := v2.requests(ctx)
	if err != nil {
		return nil, err
	}
	copies, err := f.copies(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (tally, error) {
		sent, err := f.copies(ctx)
		if err != nil {
			return tally{}, err
		}
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(patience); ; <-tick.C {
			now, err := v2.requests(ctx)
			if err != nil {
				return tally{}, err
			}
			if seen := now - requests; seen >= sent-copies || time.Now().After(deadline) {
				return tally{numbers: map[string]int{atVersion2: int(seen)}}, nil
			}
		}
	}, nil
}
