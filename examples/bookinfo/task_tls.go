package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle"
)

const (
	// briefly is how long a certificate is good that is to be renewed. The
	// process that shows it looks each second for another.
	briefly = 5 * time.Second
	// forLong is longer than the demo takes.
	forLong = 24 * time.Hour
	// certificates is what is counted of those that details has shown.
	certificates = "new certificates shown"
)

// tlsTask has details called over TLS by callers who know nothing of it, and
// renews its certificate.
func tlsTask() task {
	v1 := []tulle.Route{toReviews("everybody", map[string]uint32{"v1": 1})}
	spoken := step{
		about: "The URL is http://details/, and what is spoken is TLS.",
		rules: rules{routes: v1, retry: true}, calls: 100,
		see: securityOfDetails, expect: map[string]float64{"details over TLS 1.3": 1},
	}
	renewed := spoken
	renewed.about = fmt.Sprintf("Its certificate is good for %v and renewed before that, while calls go on.", briefly)
	renewed.rules.fresh = true
	shown := 0
	during := func(renew bool) func(context.Context, *fleet) error {
		return func(ctx context.Context, f *fleet) (err error) {
			shown, err = f.expire(ctx, renew)
			return err
		}
	}
	renewed.clients, renewed.during = 4, during(true)
	renewed.trouble = func(_ context.Context, f *fleet) (func(context.Context) error, error) {
		return func(ctx context.Context) error { return f.renew(ctx, forLong) }, nil
	}
	renewed.count = func(context.Context, *fleet) (func(context.Context) (tally, error), error) {
		return func(context.Context) (tally, error) { return tally{numbers: map[string]int{certificates: shown}}, nil }, nil
	}
	renewed.counted = map[string]span{certificates: exactly(2)}
	renewed.without = func(s *step) { s.rules, s.during = renewed.rules, during(false) }
	return task{
		name:  "tls",
		title: "plain text in, TLS out",
		about: "Details takes calls over TLS only. Productpage asks for http://details/ as before: its mesh\n" +
			"speaks TLS and knows the authority that has signed the certificate of details, which the\n" +
			"process of details reads from files that may change. Without, plain text is spoken, or\n" +
			"nobody renews the certificate.",
		steps:   []step{spoken, renewed},
		without: rules{routes: v1, retry: true, plain: true},
	}
}

// securityOfDetails tells how details was called.
func securityOfDetails(p page) string {
	switch {
	case p.Details.Error != "":
		return "no details"
	case p.Details.TLS == "":
		return "details in plain text"
	}
	return "details over " + p.Details.TLS
}

// renew gives details a certificate for a time, and returns when it is shown.
func (f *fleet) renew(ctx context.Context, long time.Duration) error {
	number, err := f.authority.certify("details", time.Now().Add(long))
	if err != nil {
		return err
	}
	var addrs []string
	for _, p := range f.of("details") {
		addrs = append(addrs, p.addr)
	}
	return f.authority.shown(ctx, "details", number, addrs...)
}

// expire gives details a certificate that expires soon, and another in time or
// not at all. It returns after that, and how many have been shown.
func (f *fleet) expire(ctx context.Context, renew bool) (shown int, err error) {
	over := time.Now().Add(briefly)
	if err := f.renew(ctx, briefly); err != nil {
		return 0, err
	}
	if renew {
		if err := f.renew(ctx, forLong); err != nil {
			return 1, err
		}
		shown++
	}
	return shown + 1, waitUntil(ctx, over.Add(briefly/10))
}
