package tulle_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
)

// What a caller does to its policies after New changes nothing before Apply.
func TestPoliciesAreCopied(t *testing.T) {
	inBubble(t, func(w *world) {
		p := tulle.Policies{
			Retry: &retry.Policy{Statuses: []int{500}}, Fault: &fault.Policy{Abort: &fault.Abort{Status: 418, Percent: 1}},
			Breaker: &breaker.Policy{}, Limit: &breaker.Limit{}, Outliers: &health.Outliers{}, EndpointBreaker: &breaker.Policy{},
			Probe:     &health.Probe{Path: "/healthz", Statuses: []health.StatusRange{{From: 200}}},
			RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{{Requests: 10}}},
		}
		change := func(v int) {
			p.Retry.Attempts, p.Retry.Statuses[0] = v, 500+v
			p.Fault.Abort.Status = 400 + v
			p.Breaker.Consecutive, p.EndpointBreaker.Consecutive = v, v
			p.RateLimit.Policies[0].Requests = int64(v)
			p.Limit.InFlight, p.Outliers.Consecutive5xx = v, v
			p.Probe.HealthyThreshold, p.Probe.Statuses[0].From = v, 200+v
		}
		change(3)
		for name, c := range map[string]func() tulle.Config{
			"config": func() tulle.Config { c := one("10.0.0.1:80"); c.Policies = p; return c },
			"service": func() tulle.Config {
				c := one("10.0.0.1:80")
				c.Services[0].Policies = p
				return c
			},
			"route": func() tulle.Config {
				c, q := one("10.0.0.1:80"), p
				q.Outliers, q.EndpointBreaker, q.Probe = nil, nil, nil
				c.Routes = []tulle.Route{{Name: "r", Policies: q}}
				return c
			},
		} {
			m := w.mesh(c())
			state := func() string {
				s := m.State()
				text, err := json.Marshal([]any{s.Services[0].Policies, s.Routes})
				require.NoError(w, err)
				return string(text)
			}
			was := state()
			change(7)
			assert.Equal(w, was, state(), name)
			require.NoError(w, m.Apply(c()))
			assert.NotEqual(w, was, state(), name)
			change(3)
		}
	})
}
