package tulle_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// How verified tokens are remembered, and for how long they are good.
func TestInboundTokensAreRemembered(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*authn.Policy)
		cached uint64
	}{
		"by default":  {func(*authn.Policy) {}, 1},
		"no entries":  {func(p *authn.Policy) { p.CacheEntries = -1 }, 0},
		"few bytes":   {func(p *authn.Policy) { p.CacheBytes = 1 }, 0},
		"one for now": {func(p *authn.Policy) { p.CacheEntries = 1 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := tokens()
			row.change(p)
			m := inbound(t, tulle.Inbound{Guard: tulle.Guard{Authn: p}})
			alice := bearer(tokenOf("alice", nil))
			for range 2 {
				require.Equal(t, 200, visit(m.Handler(&handled{}), "GET /", "", alice).Code)
			}
			assert.Equal(t, row.cached, m.State().Inbound.Guard.Authn.Cached)
		})
	}
}

func TestInboundTokensAndTime(t *testing.T) {
	late := map[string]any{"exp": time.Now().Add(-10 * time.Second).Unix()}
	long := map[string]any{"exp": time.Now().Add(3 * time.Hour).Unix()}
	for name, row := range map[string]struct {
		change func(*authn.Policy)
		claims map[string]any
		status int
	}{
		"clocks differ":     {func(*authn.Policy) {}, late, 200},
		"clocks do not":     {func(p *authn.Policy) { p.Skew = -1 }, late, 401},
		"good for long":     {func(*authn.Policy) {}, long, 200},
		"good for too long": {func(p *authn.Policy) { p.Issuers[0].MaxLifetime = time.Hour }, long, 401},
	} {
		t.Run(name, func(t *testing.T) {
			p := tokens()
			row.change(p)
			h := inbound(t, tulle.Inbound{Guard: tulle.Guard{Authn: p}}).Handler(&handled{})
			assert.Equal(t, row.status, visit(h, "GET /", "", bearer(tokenOf("alice", row.claims))).Code)
		})
	}
}

// The limit that adapts begins within its bounds.
func TestInboundAdaptiveBounds(t *testing.T) {
	for want, a := range map[int]overload.Adaptive{
		20: {}, 7: {Initial: 7}, 30: {Min: 30}, 10: {Max: 10},
	} {
		m := inbound(t, tulle.Inbound{Overload: &overload.Policy{Adaptive: a}})
		assert.Equal(t, want, m.State().Inbound.Overload.Limit)
	}
}

// What a request costs is taken from what there is.
func TestInboundRateLimitCost(t *testing.T) {
	for cost, fit := range map[int64]int{0: 10, 1: 10, 5: 2, 10: 1} {
		m := inbound(t, tulle.Inbound{Guard: tulle.Guard{RateLimit: &ratelimit.Config{
			Policies: []ratelimit.Policy{{Requests: 10, Period: time.Hour, Cost: cost}},
		}}})
		for i := range fit + 1 {
			status := visit(m.Handler(&handled{}), "GET /", "").Code
			assert.Equal(t, i == fit, status == 429, "cost %d, request %d: %d", cost, i, status)
		}
	}
}

// deaf is a store that never answers.
type deaf struct{}

func (*deaf) Take(ctx context.Context, _ []ratelimit.Charge) ([]ratelimit.Level, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A store that does not answer holds requests for as long as it may, and then
// what happens is what was chosen.
func TestInboundStoreDoesNotAnswer(t *testing.T) {
	inBubble(t, func(w *world) {
		for mode, status := range map[ratelimit.FailureMode]int{ratelimit.FailOpen: 200, ratelimit.FailClosed: 503, ratelimit.FailLocal: 200} {
			m := inbound(w, tulle.Inbound{Guard: tulle.Guard{RateLimit: &ratelimit.Config{
				Policies: []ratelimit.Policy{never(ratelimit.Key{})}, Store: &deaf{}, StoreTimeout: 3 * time.Second, OnStoreFailure: mode,
			}}})
			began := time.Now()
			rec := visit(m.Handler(&handled{}), "GET /", "")
			require.Equal(w, 3*time.Second, time.Since(began))
			require.Equal(w, status, rec.Code, mode)
			if status == 503 {
				require.Equal(w, "undecided", problem(w, rec))
				require.Equal(w, "1", rec.Header().Get("Retry-After"))
				require.EqualValues(w, 1, m.State().Inbound.Calls.Reasons[outcome.Undecided])
			}
		}
	})
}
