package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// TestRefusal: a refusal is no page and no error for those who reckon with it,
// and it needs all that it should have to be called by its name.
func TestRefusal(t *testing.T) {
	f := newFleet(t)
	require.NoError(t, f.apply(t.Context(), rules{guard: &tulle.Guard{
		RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{{Requests: 1, Period: time.Hour}}},
	}}))
	_, err := f.look(t.Context(), "")
	require.NoError(t, err)
	_, err = f.look(t.Context(), "")
	require.ErrorContains(t, err, "429 Too Many Requests")
	p, err := f.ask(t.Context(), request{who: "all"})
	require.NoError(t, err)
	require.Equal(t, http.StatusTooManyRequests, p.Refused.status)
	require.Greater(t, wait(p.Refused), 58*time.Minute)
	require.Equal(t, "all: 429", rationed(p), "without the RateLimit fields")

	bare := page{Asked: request{who: "all"}, Refused: &refusal{status: 401, header: http.Header{}}}
	require.Equal(t, "all: 401 without a reason", admitted(bare))
	bare.Refused.problem.Reason = "unauthenticated"
	require.Equal(t, "all: 401", admitted(bare))
	require.Zero(t, wait(bare.Refused))
}

func TestConditions(t *testing.T) {
	require.Equal(t, []string{
		"each address may look at productpage 3 times at once, and 2 times in 1s",
		"each user may look at productpage 4 times at once, and 4 times in 1m0s",
		"all together may look at productpage 5 times at once, and 5 times in 1s",
		"productpage asks for a token of a for b or c",
		"deny: nobody",
	}, conditions(tulle.Guard{
		RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{
			{Name: "1", Requests: 2, Burst: 3, Key: ratelimit.Key{Source: true}},
			{Name: "2", Requests: 4, Period: time.Minute, Key: ratelimit.Key{Cookie: "user"}}, {Name: "3", Requests: 5},
		}},
		Authn: &authn.Policy{Issuers: []authn.Issuer{{Issuer: "a", Audiences: []string{"b", "c"}}}},
		Authz: &authz.Policy{Rules: []authz.Rule{{Name: "nobody", Action: authz.Deny}}},
	}))
}
