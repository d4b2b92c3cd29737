package main

import (
	"context"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/retry"
)

const (
	// refusedOnes and faultsNamed are what is counted of configurations.
	refusedOnes = "configurations refused"
	faultsNamed = "faults named"
)

// mistakesTask gives productpage a configuration that is wrong in many places.
func mistakesTask() task {
	v1 := []tulle.Route{toReviews("everybody", map[string]uint32{"v1": 1})}
	// Each mistake, and what was meant.
	wrong := toReviews("everybody", map[string]uint32{"v9": 1})
	wrong.Policies = tulle.Policies{
		Timeout: 2 * time.Second, Retry: &retry.Policy{PerTry: 3 * time.Second},
		Fault: &fault.Policy{Delay: &fault.Delay{Percent: 150, Duration: time.Millisecond}},
	}
	jason := toReviews("jason", map[string]uint32{"v2": 1}, match.Value{Name: userHeader, Regex: "jas(on"})
	jason.Mirrors = []tulle.Mirror{{Service: "review", Subset: "v3"}}
	right := toReviews("everybody", map[string]uint32{"v3": 1})
	right.Policies = tulle.Policies{
		Timeout: 3 * time.Second, Retry: &retry.Policy{PerTry: 3 * time.Second},
		Fault: &fault.Policy{Delay: &fault.Delay{Percent: 15, Duration: time.Millisecond}},
	}
	mended := toReviews("jason", map[string]uint32{"v2": 1}, match.Value{Name: userHeader, Regex: "jas(on)?"})
	mended.Mirrors = []tulle.Mirror{{Service: "reviews", Subset: "v3"}}

	var got tally
	give := func(routes ...tulle.Route) harm {
		return func(ctx context.Context, f *fleet) (_ func(context.Context) error, err error) {
			got, err = f.give(ctx, routes)
			return func(ctx context.Context) error { return f.tell(ctx, f.processes[0], nil) }, err
		}
	}
	s := step{
		about: "The new configuration has five mistakes. It is refused, each is named, and nothing changes.",
		rules: rules{routes: v1}, calls: 100, see: versionOfReviews, expect: map[string]float64{"v1": 1},
		trouble: give(wrong, jason),
		count: func(context.Context, *fleet) (func(context.Context) (tally, error), error) {
			return func(context.Context) (tally, error) { return got, nil }, nil
		},
		counted: map[string]span{refusedOnes: exactly(1), faultsNamed: exactly(5)},
		without: func(s *step) { s.trouble = give(right, mended) },
	}
	return task{
		name:  "mistakes",
		title: "a configuration that is wrong",
		about: "All pages are made with reviews v1. Productpage is told to use v3 from now on, and what\n" +
			"else it is told makes no sense. The mesh takes over all of a configuration or nothing.\n" +
			"Without the mistakes it is taken over at once.",
		steps:   []step{s},
		without: rules{routes: v1},
	}
}

// give has productpage take over routes, and tells what it says to them.
func (f *fleet) give(ctx context.Context, routes []tulle.Route) (tally, error) {
	p := f.processes[0]
	now := p.settings
	now.Routes = routes
	r, err := p.say(ctx, order{Settings: &now})
	if r.Error == "" {
		return tally{numbers: map[string]int{refusedOnes: 0, faultsNamed: 0}}, err
	}
	got := tally{numbers: map[string]int{refusedOnes: 1, faultsNamed: 0}}
	for line := range strings.Lines(r.Error) {
		// The first line says what the others are of.
		if line = strings.TrimSpace(line); !strings.HasSuffix(line, ":") {
			got.numbers[faultsNamed]++
			got.lines = append(got.lines, [2]string{"fault", line})
		}
	}
	return got, nil
}
