package tulle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// No more calls go to a service than the rate allows: others are refused with
// the time to come back, or wait for their turn. Observed, all go.
func TestRateLimitOfCalls(t *testing.T) {
	for name, row := range map[string]struct {
		config  *ratelimit.Config
		refused int
		took    time.Duration
	}{
		"without":  {nil, 0, 0},
		"refused":  {&ratelimit.Config{Policies: []ratelimit.Policy{{Name: "p", Requests: 10, Period: time.Second, Burst: 4}}}, 6, 0},
		"waiting":  {&ratelimit.Config{Policies: []ratelimit.Policy{{Name: "p", Requests: 10, Period: time.Second, Burst: 4}}, MaxWait: time.Minute}, 0, 600 * time.Millisecond},
		"observed": {&ratelimit.Config{Policies: []ratelimit.Policy{{Name: "p", Requests: 10, Period: time.Second, Burst: 4, Mode: outcome.Observe}}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(1)
				c := one(addrs...)
				c.Policies.RateLimit = row.config
				m := w.mesh(c)
				begin, refused := time.Now(), 0
				for range 10 {
					_, err := get(w.Context(), m, "http://reviews/")
					if err == nil {
						continue
					}
					e := asError(w, err)
					require.Equal(w, outcome.RateLimited, e.Reason)
					require.Equal(w, 100*time.Millisecond, e.RetryAfter)
					refused++
				}
				assert.Equal(w, row.refused, refused)
				assert.Equal(w, row.took, time.Since(begin))
				assert.EqualValues(w, 10-row.refused, all[0].served.Load())
				if row.config != nil {
					require.Len(w, service(w, m, "reviews").RateLimits, 1)
				}
				if name == "observed" {
					r := policyReport(w, m, "rateLimit p")
					assert.EqualValues(w, 6, r.Would)
					assert.EqualValues(w, 6, r.Succeeded)
				}
			})
		})
	}
}

// Buckets are kept over Apply where the policy is equal, and shared by those
// who have the same one.
func TestRateLimitsAreKeptAndShared(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(1)
		config := func() tulle.Config {
			c := one(addrs...)
			shared := &ratelimit.Config{Policies: []ratelimit.Policy{{Name: "p", Requests: 1, Period: time.Hour, Burst: 2}}}
			c.Services[0].Policies.RateLimit = shared
			c.Routes = []tulle.Route{
				{Name: "same", Match: prefix("/same"), Policies: tulle.Policies{RateLimit: shared}},
				{Name: "own", Match: prefix("/own"), Policies: tulle.Policies{RateLimit: &ratelimit.Config{
					Policies: []ratelimit.Policy{{Name: "q", Requests: 1, Period: time.Hour}}}}},
			}
			return c
		}
		m := w.mesh(config())
		w.get(m, "http://reviews/")
		w.get(m, "http://reviews/same")
		require.NoError(w, m.Apply(config()))
		for _, path := range []string{"", "same"} {
			_, err := get(w.Context(), m, "http://reviews/"+path)
			require.Equal(w, outcome.RateLimited, asError(w, err).Reason)
		}
		w.get(m, "http://reviews/own")
	})
}
