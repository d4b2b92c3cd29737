//go:build !race

package ratelimit_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
)

func TestAllocations(t *testing.T) {
	r := from("[2001:db8::1]:80")
	r.Header.Set("Cookie", "a=1; session=s")
	r.URL.RawQuery, r.Pattern = "a=1&q=x", "GET /reviews"
	r = r.WithContext(identity.WithClaims(identity.NewContext(r.Context(),
		identity.Principal{Kind: identity.Token, Name: "alice", Issuer: "i"}), identity.Claims{"tenant": "shop"}))
	now := time.Now()
	for name, key := range map[string]ratelimit.Key{
		"global": {}, "header": {Header: "x-user"}, "cookie": {Cookie: "session"}, "query": {Query: "q"},
		"principal": {Principal: true}, "claim": {Claim: "tenant"}, "source": {Source: true}, "route": {Route: true, Source: true}, "none": {Header: "X-None"},
	} {
		for _, requests := range []int64{1, plenty} {
			one := limiter(t, ratelimit.Policy{Requests: requests, Key: key})
			assert.Zero(t, testing.AllocsPerRun(100, func() { one.Take(r, 1, now) }), "%s, %d", name, requests)
			three := limiter(t, ratelimit.Policy{Requests: requests, Key: key}, ratelimit.Policy{Name: "all", Requests: plenty},
				ratelimit.Policy{Name: "trial", Requests: 1, Mode: outcome.Observe})
			assert.Zero(t, testing.AllocsPerRun(100, func() { three.Take(r, 1, now).Succeeded() }), "%s, %d of three", name, requests)
		}
	}

	waits, err := ratelimit.New(ratelimit.Config{Policies: []ratelimit.Policy{{Requests: plenty}}, MaxWait: time.Second})
	assert.NoError(t, err)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = waits.Acquire(r, 1) }), 0., "no need to wait")

	fields, err := ratelimit.New(ratelimit.Config{Policies: []ratelimit.Policy{{Requests: plenty}}, Fields: ratelimit.StandardFields})
	assert.NoError(t, err)
	h := http.Header{}
	d := fields.Take(r, 1, now)
	d.SetFields(h)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { d.SetFields(h) }), 3., "two values and a text")
}
