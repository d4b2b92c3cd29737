package tulle_test

import (
	"context"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// A fault for calls comes before the service: it is answered or held up by
// the mesh, and neither endpoints nor retries learn of it.
func TestFaultsOfCalls(t *testing.T) {
	for name, row := range map[string]struct {
		fault  fault.Policy
		status int
		took   time.Duration
		sent   int
	}{
		"none hit": {fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 503}, Match: []match.Request{{Methods: []string{"PUT"}}}}, 200, 0, 1},
		"abort":    {fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 503}}, 503, 0, 0},
		"delay":    {fault.Policy{Delay: &fault.Delay{Percent: 100, Duration: 3 * time.Second}}, 200, 3 * time.Second, 1},
		"both":     {fault.Policy{Delay: &fault.Delay{Percent: 100, Duration: time.Second}, Abort: &fault.Abort{Percent: 100, Status: 418}}, 418, time.Second, 0},
		"observed": {fault.Policy{Mode: outcome.Observe, Delay: &fault.Delay{Percent: 100, Duration: time.Minute}, Abort: &fault.Abort{Percent: 100, Status: 503}}, 200, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				s := w.serve("10.0.0.1:80", tulletest.Step{})
				c := one("10.0.0.1:80")
				c.Policies = tulle.Recommended()
				c.Policies.Fault = &row.fault
				m := w.mesh(c)
				require.NoError(w, m.Ready(w.Context()))
				begin := time.Now()
				body := &closing{Reader: strings.NewReader("x")}
				req, err := http.NewRequestWithContext(w.Context(), "POST", "http://reviews/", body)
				require.NoError(w, err)
				resp, err := m.Transport().RoundTrip(req)
				require.NoError(w, err)
				assert.Same(w, req, resp.Request)
				a, err := read(resp, nil)
				require.NoError(w, err)
				assert.Equal(w, row.status, a.status)
				assert.Equal(w, row.took, time.Since(begin))
				assert.Equal(w, row.sent, s.Count())
				assert.Equal(w, 1, body.closed)
				state := service(w, m, "reviews")
				assert.EqualValues(w, row.sent, state.Endpoints[0].Started)
				assert.Zero(w, state.Endpoints[0].Failed)
				assert.Zero(w, state.Retries.Retries)
				assert.Zero(w, state.Calls.Active)
				require.NotNil(w, state.Faults)
				if row.sent == 0 {
					assert.EqualValues(w, 1, state.Calls.Reasons[outcome.FaultInjected])
					assert.Equal(w, `tulle; error=proxy_internal_response; details="fault_injected"`, a.header.Get("Proxy-Status"))
					assert.EqualValues(w, 1, state.Faults.Aborted)
				} else {
					assert.NotContains(w, a.header, "Proxy-Status")
				}
			})
		})
	}
}

// A fault for attempts looks as if the endpoint had done it.
func TestFaultsOfAttempts(t *testing.T) {
	for name, abort := range map[string]fault.Abort{"status": {Percent: 50, Status: 503}, "reset": {Percent: 50, Reset: true}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{})
				c := one("10.0.0.1:80")
				c.Policies.Retry = &retry.Policy{Budget: retry.BudgetPolicy{Ratio: -1}}
				c.Policies.Fault = &fault.Policy{PerAttempt: true, Abort: &abort}
				m := w.mesh(c)
				failed := 0
				const n = 400
				for range n {
					if a, err := get(w.Context(), m, "http://reviews/"); err != nil || a.status != 200 {
						failed++
					}
				}
				// Half of the calls are hit, half of those again; six standard
				// deviations are one in 10^9.
				assert.InDelta(w, n/4, failed, 6*math.Sqrt(n*.25*.75))
				s := service(w, m, "reviews")
				assert.NotZero(w, s.Retries.Retries)
				assert.EqualValues(w, s.Faults.Aborted, s.Endpoints[0].Failed)
				assert.Zero(w, s.Endpoints[0].InFlight)
			})
		})
	}
}

// A delay is part of the time that a call has, whoever set it.
func TestFaultsKeepToTheTimeOfACall(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		c := one("10.0.0.1:80")
		c.Policies = tulle.Policies{Timeout: time.Second, Fault: &fault.Policy{Delay: &fault.Delay{Percent: 100, Duration: time.Minute}}}
		m := w.mesh(c)
		_, err := get(w.Context(), m, "http://reviews/")
		assert.Equal(w, outcome.CallTimeout, asError(w, err).Reason)
		ctx, cancel := context.WithTimeout(w.Context(), time.Millisecond)
		defer cancel()
		_, err = get(ctx, m, "http://reviews/")
		assert.Equal(w, outcome.CallerDeadline, asError(w, err).Reason)
		c.Policies.Fault = &fault.Policy{Abort: &fault.Abort{Percent: 100, Reset: true}}
		require.NoError(w, m.Apply(c))
		_, err = get(w.Context(), m, "http://reviews/")
		e := asError(w, err)
		assert.Equal(w, outcome.FaultInjected, e.Reason)
		assert.ErrorIs(w, e, fault.ErrReset)
	})
}

// Counts of faults survive a configuration that leaves them as they are, and
// a route may have its own.
func TestFaultsAreKeptAndInherited(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		c := one("10.0.0.1:80")
		c.Policies.Fault = &fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 503}}
		c.Routes = []tulle.Route{{Name: "own", Match: prefix("/own"), Split: to(tulle.Destination{Service: "reviews"}),
			Policies: tulle.Policies{Fault: &fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 404}}}}}
		m := w.mesh(c)
		assert.Equal(w, 503, w.get(m, "http://reviews/").status)
		assert.Equal(w, 404, w.get(m, "http://reviews/own").status)
		c.Policies.Timeout = time.Hour
		require.NoError(w, m.Apply(c))
		assert.Equal(w, 503, w.get(m, "http://reviews/").status)
		s := m.State()
		assert.EqualValues(w, 2, s.Services[0].Faults.Aborted)
		assert.EqualValues(w, 1, s.Routes[0].Split[0].Faults.Aborted)
	})
}
