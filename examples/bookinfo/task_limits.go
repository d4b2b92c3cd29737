package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/ratelimit"
)

const (
	// letThrough is what is counted of the requests that come to productpage.
	letThrough = "requests let through"
	// soonEnough is what is counted of the clients that came when they were
	// told to.
	soonEnough = "waited and came through"
)

// limitsTask bounds how often somebody may look at the page.
func limitsTask() task {
	const most, calls = 10, 60
	v1 := []tulle.Route{toReviews("everybody", map[string]uint32{"v1": 1})}
	limit := func(p ratelimit.Policy) *tulle.Guard {
		return &tulle.Guard{RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{p}, Fields: ratelimit.StandardFields}}
	}
	source, user, pause := step{calls: calls, see: rationed}, step{calls: calls, see: rationed}, step{see: rationed}
	source.about = fmt.Sprintf("An address may look %d times at once, and then slowly.", most)
	source.rules = rules{routes: v1, guard: limit(ratelimit.Policy{Requests: most, Period: time.Hour, Key: ratelimit.Key{Source: true}})}
	source.request = func(*fleet, int) request { return request{who: "all"} }
	source.expect = map[string]float64{"all: page": most / float64(calls), "all: 429, and when to come back": 1 - most/float64(calls)}
	source.count, source.counted = countLetThrough, map[string]span{letThrough: exactly(most)}

	source.quote = quoteRefusal

	user.about = "The same for each user: jason asks five times as often as anna, who notices nothing."
	user.rules = rules{routes: v1, guard: limit(ratelimit.Policy{Requests: most, Period: time.Hour, Key: ratelimit.Key{Cookie: userCookie}})}
	user.request = func(_ *fleet, made int) request {
		if made%6 == 0 {
			return request{who: "anna", user: "anna"}
		}
		return request{who: "jason", user: "jason"}
	}
	user.expect = map[string]float64{"anna: page": 1. / 6, "jason: page": 1. / 6, "jason: 429, and when to come back": 4. / 6}
	user.count, user.counted = countLetThrough, map[string]span{letThrough: exactly(2 * most)}

	pause.about = "Who is refused is told when to come back, does, and is let in."
	pause.rules = rules{routes: v1, guard: limit(ratelimit.Policy{Requests: 1, Key: ratelimit.Key{Source: true}})}
	pause.calls, pause.expect = 1, map[string]float64{"all: page": 1}
	pause.request = source.request
	var waited int
	pause.trouble = func(ctx context.Context, f *fleet) (_ func(context.Context) error, err error) {
		waited, err = f.comeBack(ctx)
		return done, err
	}
	pause.count = func(context.Context, *fleet) (func(context.Context) (tally, error), error) {
		return func(context.Context) (tally, error) {
			return tally{numbers: map[string]int{soonEnough: waited}}, nil
		}, nil
	}
	pause.counted = map[string]span{soonEnough: exactly(1)}
	return task{
		name:  "limits",
		title: "rate limiting",
		about: "Somebody asks for more pages than he should. The mesh of productpage answers in its place,\n" +
			"and says how much there is and when there will be more. Without, all requests come in.",
		steps:   []step{source, user, pause},
		without: rules{routes: v1},
	}
}

// rationed tells what came of a request, and whether a refusal has all that
// one needs.
func rationed(p page) string {
	what := "page"
	if r := p.Refused; r != nil {
		what = fmt.Sprint(r.status)
		if wait(r) > 0 && r.header.Get("RateLimit") != "" && r.header.Get("RateLimit-Policy") != "" && r.problem.Reason != "" {
			what += ", and when to come back"
		}
	}
	return p.Asked.who + ": " + what
}

// quoteRefusal tells what a refusal says.
func quoteRefusal(p page) string {
	if r := p.Refused; r != nil {
		return fmt.Sprintf("%v. Retry-After: %s, RateLimit: %s", r, r.header.Get("Retry-After"), r.header.Get("RateLimit"))
	}
	return ""
}

// wait returns how long whoever is refused is told to wait.
func wait(r *refusal) time.Duration {
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// comeBack looks at the page until it is refused, and then waits for as long
// as it is told to. It returns how often that was.
func (f *fleet) comeBack(ctx context.Context) (waits int, err error) {
	for range 10 {
		p, err := f.ask(ctx, request{})
		if err != nil {
			return 0, err
		}
		if p.Refused != nil && p.Refused.status == http.StatusTooManyRequests {
			return 1, waitUntil(ctx, time.Now().Add(wait(p.Refused)))
		}
	}
	return 0, nil
}

// countLetThrough counts the requests that come to productpage itself.
func countLetThrough(ctx context.Context, f *fleet) (func(context.Context) (tally, error), error) {
	before, err := f.requests(ctx, "productpage")
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (tally, error) {
		now, err := f.requests(ctx, "productpage")
		return tally{numbers: map[string]int{letThrough: int(now - before)}}, err
	}, nil
}
