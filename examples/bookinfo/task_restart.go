package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/fault"
)

const (
	// restartGrace is how long a process that is told to stop tells so.
	restartGrace = time.Second
	// atWork is how long ratings takes for an answer meanwhile, so that there
	// always are requests under way.
	atWork = 100 * time.Millisecond
	// restarted is what is counted of the processes of ratings.
	restarted = "processes restarted"
)

// restartTask starts the endpoints of ratings anew, one after the other, while
// many call.
func restartTask() task {
	v3 := []tulle.Route{toReviews("everybody", map[string]uint32{"v3": 1})}
	stop := func(ctx context.Context, p *process) error { return p.quit(ctx) }
	kill := func(_ context.Context, p *process) error { p.kill(); return nil }
	roll := func(how func(context.Context, *process) error, moves bool) func(context.Context, *fleet) error {
		return func(ctx context.Context, f *fleet) error { return f.roll(ctx, "ratings", how, moves) }
	}
	base := step{
		calls: 200, see: starsByMethod,
		request: func(_ *fleet, made int) request {
			if made%2 == 0 {
				return request{who: "GET"}
			}
			return request{who: "POST", gives: true}
		},
		quote: func(p page) string {
			if h := p.Reviews.Ratings; h != nil {
				return h.Error
			}
			return p.Review.Error
		},
		expect: map[string]float64{"GET: stars": .5, "POST: stars": .5},
		count:  countRestarts, counted: map[string]span{restarted: exactly(3)},
		trouble: func(ctx context.Context, f *fleet) (func(context.Context) error, error) {
			return f.burden(ctx, f.of("ratings"), fault.Policy{Delay: &fault.Delay{Percent: 100, Duration: atWork}})
		},
	}
	anew, again := base, base
	anew.about = "Each is told to stop, ends, and is started at another address, as in Kubernetes."
	anew.rules = rules{routes: v3, grace: restartGrace, retry: true}
	anew.during = roll(stop, true)
	anew.without = func(s *step) { s.during = roll(kill, true) }
	again.about = "The same at the same addresses, where callers take some time to believe that it is back."
	again.rules = rules{routes: v3, grace: restartGrace, retry: true}
	again.during = roll(stop, false)
	again.without = func(s *step) { s.during = roll(kill, false) }
	return task{
		name:  "restart",
		title: "rolling restart",
		about: fmt.Sprintf("All three endpoints of ratings are started anew, one after the other, while %d clients\n"+
			"call, half of them by POST, which cannot be repeated once it has arrived. Who is told to\n"+
			"stop goes on for a moment and says with each answer that he is leaving; his callers turn\n"+
			"to others, and the last request is waited for. Without, processes are killed.", clients),
		steps:   []step{anew, again},
		without: rules{routes: v3, retry: true},
	}
}

// starsByMethod tells whether a look at the page got stars, and how it was made.
func starsByMethod(p page) string {
	if p.Refused != nil {
		return p.Asked.who + ": no page"
	}
	return p.Asked.who + ": " + starsOfReviews(p)
}

// roll starts all processes of a service anew, one after the other. Those that
// move get another address, which their callers are told.
func (f *fleet) roll(ctx context.Context, service string, end func(context.Context, *process) error, moves bool) error {
	for _, p := range f.of(service) {
		if err := f.busy(ctx, p); err != nil {
			return err
		}
		if err := end(ctx, p); err != nil {
			return err
		}
		if moves {
			p.addr = "127.0.0.1:0"
		}
		if err := f.restart(ctx, p); err != nil {
			return err
		}
		if !moves {
			continue
		}
		for _, caller := range f.processes {
			if err := f.tell(ctx, caller, caller.settings.Fault); err != nil {
				return err
			}
		}
	}
	return nil
}

// busy returns when a process has had as many requests as it has at a time.
func (f *fleet) busy(ctx context.Context, p *process) error {
	before, err := p.requests(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		now, err := p.requests(ctx)
		if err != nil || now-before >= clients/3 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("%s has had no requests for %v", p, patience)
}

// countRestarts counts the processes of ratings that are others in the end.
func countRestarts(_ context.Context, f *fleet) (func(context.Context) (tally, error), error) {
	before := map[int]bool{}
	for _, p := range f.of("ratings") {
		before[p.pid()] = true
	}
	return func(context.Context) (tally, error) {
		n := 0
		for _, p := range f.of("ratings") {
			if !before[p.pid()] {
				n++
			}
		}
		return tally{numbers: map[string]int{restarted: n}}, nil
	}, nil
}
