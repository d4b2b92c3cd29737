package tulle_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// The breaker of a service opens when half of the calls fail, refuses with an
// error that tells when to come back, and closes when trials succeed. Who
// listens is told once of each. Without it every call goes on failing.
func TestBreakerOfAService(t *testing.T) {
	for _, with := range []bool{true, false} {
		t.Run(fmt.Sprintf("policy %v", with), func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(2)
				c := fair(one(addrs...))
				if with {
					c.Policies.Breaker = &breaker.Policy{}
				}
				var told incidents
				m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: told.add}))
				for _, f := range all {
					f.status.Store(500)
				}
				w.calls(m, 100)
				served := all[0].served.Load() + all[1].served.Load()
				if !with {
					require.EqualValues(w, 100, served)
					return
				}
				require.EqualValues(w, 20, served, "as many as it takes to tell")
				_, err := get(w.Context(), m, "http://reviews/")
				e := asError(w, err)
				assert.Equal(w, outcome.BreakerOpen, e.Reason)
				assert.Zero(w, e.Attempts)
				var open *breaker.OpenError
				require.ErrorAs(w, err, &open)
				assert.Equal(w, open.RetryAfter, e.RetryAfter)
				s := service(w, m, "reviews")
				require.Len(w, s.Breakers, 1)
				assert.Equal(w, breaker.Open, s.Breakers[0].State)
				assert.Equal(w, e.RetryAfter, s.Breakers[0].RetryAfter)
				assert.EqualValues(w, 81, s.Calls.Reasons[outcome.BreakerOpen])

				time.Sleep(e.RetryAfter)
				for _, f := range all {
					f.status.Store(200)
				}
				require.Zero(w, w.calls(m, 100))
				events := told.told()
				require.Len(w, events, 2)
				assert.True(w, events[0].Open)
				assert.Equal(w, "reviews", events[0].Service)
				assert.Empty(w, events[0].Endpoint)
				assert.NotEmpty(w, events[0].Last)
				assert.False(w, events[1].Open)
			})
		})
	}
}

// Under Observe every call goes through, and it is told what would have been
// refused.
func TestBreakerObserved(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Breaker = &breaker.Policy{Mode: outcome.Observe, Consecutive: 5, OpenFor: time.Minute}
		m := w.mesh(c)
		all[0].status.Store(500)
		require.Equal(w, 10, w.calls(m, 10))
		all[0].status.Store(200)
		require.Zero(w, w.calls(m, 10))
		b := service(w, m, "reviews").Breakers[0]
		assert.EqualValues(w, 15, b.WouldRefuse)
		assert.EqualValues(w, 10, b.WouldRefuseSucceeded)
	})
}

// A retry takes a permit of its own, so that a breaker that opens between two
// attempts leaves the call what it has.
func TestARetryIsRefusedByTheBreaker(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		c := fair(one(addrs...))
		c.Policies = tulle.Policies{Breaker: &breaker.Policy{Consecutive: 1}, Retry: &retry.Policy{}}
		m := w.mesh(c)
		all[0].status.Store(503)
		all[1].status.Store(503)
		a, err := get(w.Context(), m, "http://reviews/")
		require.NoError(w, err)
		require.Equal(w, 503, a.status)
		require.EqualValues(w, 1, all[0].served.Load()+all[1].served.Load())
		require.EqualValues(w, 1, service(w, m, "reviews").Retries.Unprepared)
	})
}

// The breaker of an endpoint refuses nobody: the endpoint is left out, and
// tried when the breaker is half-open.
func TestBreakerOfAnEndpoint(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(2)
		slow := &tulletest.Script{Default: tulletest.Step{Delay: 2 * time.Second}}
		w.net.Serve(w.T, "10.0.0.8:80", slow)
		c := fair(one(append(addrs, "10.0.0.8:80")...))
		c.Policies.EndpointBreaker = &breaker.Policy{SlowCall: time.Second, MinCalls: 5, HalfOpenCalls: 2}
		var told incidents
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: told.add}))
		require.Zero(w, w.calls(m, 60))
		require.Equal(w, 5, slow.Count())
		e := endpointAt(w, service(w, m, "reviews"), "10.0.0.8:80")
		require.Equal(w, []endpoint.Hold{endpoint.BreakerOpen}, holds(e))
		require.Equal(w, breaker.Open, e.Breaker.State)
		require.Len(w, told.told(), 1)
		require.Equal(w, "10.0.0.8:80", told.told()[0].Endpoint)

		time.Sleep(time.Until(e.Holds[0].Due))
		w.calls(m, 30)
		require.Equal(w, 6, slow.Count(), "one trial, and it is slow again")
		require.Len(w, told.told(), 1, "the same incident")
	})
}

// Endpoint breakers leave out no more endpoints than may be left out at once.
func TestBreakersOfEndpointsKeepToTheCap(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(4)
		c := fair(one(addrs...))
		c.Policies.EndpointBreaker = &breaker.Policy{Consecutive: 3}
		var told incidents
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: told.add}))
		for _, f := range all {
			f.status.Store(500)
		}
		for range 20 {
			w.calls(m, 20)
			n := 0
			for _, e := range service(w, m, "reviews").Endpoints {
				n += len(e.Holds)
			}
			require.LessOrEqual(w, n, 1)
			time.Sleep(time.Second)
		}
		require.Len(w, told.told(), 1, "what is not left out is no incident")
	})
}

// Routes with the same policy share the breaker of the service, one with
// another has its own.
func TestBreakersAreSharedByPolicy(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Services[0].Policies.Breaker = &breaker.Policy{Consecutive: 3}
		c.Routes = []tulle.Route{
			{Name: "same", Match: prefix("/same"), Policies: tulle.Policies{Breaker: &breaker.Policy{Consecutive: 3}}},
			{Name: "other", Match: prefix("/other"), Policies: tulle.Policies{Breaker: &breaker.Policy{Consecutive: 4}}},
		}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 3)
		_, err := get(w.Context(), m, "http://reviews/same")
		require.Equal(w, outcome.BreakerOpen, asError(w, err).Reason)
		_, err = get(w.Context(), m, "http://reviews/other")
		require.NoError(w, err)
		require.Len(w, service(w, m, "reviews").Breakers, 2)
		// An equal policy keeps its breaker, and the breaker its state.
		require.NoError(w, m.Apply(c))
		_, err = get(w.Context(), m, "http://reviews/same")
		require.Equal(w, outcome.BreakerOpen, asError(w, err).Reason)
	})
}

// A call that is over before it could be slow makes the policy a fault.
func TestASlowCallBeyondTheTimeoutIsAFault(t *testing.T) {
	c := one("10.0.0.1:80")
	c.Policies = tulle.Policies{Timeout: time.Second, Breaker: &breaker.Policy{SlowCall: 2 * time.Second}}
	assert.Error(t, c.Validate())
}

// The breaker of an endpoint opens again in another incident, which is told of
// like the first.
func TestBreakerOfAnEndpointOpensAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		c := fair(one(addrs...))
		c.Policies.EndpointBreaker = &breaker.Policy{Consecutive: 3, HalfOpenCalls: 1}
		var told incidents
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: told.add}))
		for n := 1; n <= 2; n++ {
			all[0].status.Store(500)
			require.Equal(w, 3, w.calls(m, 30))
			require.Equal(w, []endpoint.Hold{endpoint.BreakerOpen}, holds(service(w, m, "reviews").Endpoints[0]))
			require.Len(w, told.told(), 2*n-1)
			all[0].status.Store(200)
			time.Sleep(time.Minute)
			require.Zero(w, w.calls(m, 1))
			require.Empty(w, holds(service(w, m, "reviews").Endpoints[0]))
			require.Len(w, told.told(), 2*n)
			time.Sleep(time.Minute) // back in its full share
		}
		for i, e := range told.told() {
			assert.Equal(w, i%2 == 0, e.Open, i)
			assert.Equal(w, addrs[0], e.Endpoint)
		}
	})
}

// Under Observe the breaker of an endpoint leaves nothing out. It is told what
// it would have, and the incident.
func TestBreakerOfAnEndpointObserved(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		c := fair(one(addrs...))
		c.Policies.EndpointBreaker = &breaker.Policy{Mode: outcome.Observe, Consecutive: 3, OpenFor: time.Hour}
		var told incidents
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: told.add}))
		all[0].status.Store(500)
		require.Equal(w, 10, w.calls(m, 30))
		require.Empty(w, holds(service(w, m, "reviews").Endpoints[0]))
		require.Equal(w, []tulle.EndpointReport{{Addr: addrs[0], LeftOut: true, Would: 7}}, policyReport(w, m, "endpointBreaker").Endpoints)
		require.Len(w, told.told(), 1)
		assert.Equal(w, outcome.Observe, told.told()[0].Mode)
	})
}

// What has left an endpoint out takes its place once, however many say so; and
// the endpoint is back when the last of them is content.
func TestAnEndpointTakesOnePlace(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		c := fair(one(addrs...))
		c.Policies = tulle.Policies{Outliers: &health.Outliers{}, EndpointBreaker: &breaker.Policy{Consecutive: 5, HalfOpenCalls: 2}}
		m := w.mesh(c)
		all[0].status.Store(500)
		require.Equal(w, 5, w.calls(m, 30))
		require.Equal(w, []endpoint.Hold{endpoint.Ejected, endpoint.BreakerOpen}, holds(service(w, m, "reviews").Endpoints[0]))
		all[0].status.Store(200)
		time.Sleep(time.Minute)
		w.calls(m, 1)
		require.Equal(w, []endpoint.Hold{endpoint.BreakerOpen}, holds(service(w, m, "reviews").Endpoints[0]))
		w.calls(m, 1)
		require.Empty(w, holds(service(w, m, "reviews").Endpoints[0]))
	})
}

// severe takes whatever breaks off for a reset, also what had failed before.
type severe struct{ outcome.HTTP }

func (severe) ClassifyEnd(was outcome.Outcome, _ *http.Response, err error) outcome.Outcome {
	if err != nil {
		was.Class = outcome.Reset
	}
	return was
}

// A response that breaks off is a failure, one that had failed already is no
// second one, and one that said nothing takes nobody's place.
func TestBreakersKnowTheEndOfBodies(t *testing.T) {
	for name, row := range map[string]struct {
		status          int
		calls, failures int
	}{"success": {200, 3, 3}, "failure": {503, 3, 3}, "overload": {429, 3, 3}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{}, tulletest.Step{Status: row.status, Body: "some words", Fault: tulletest.ResetBody})
				c := one("10.0.0.1:80")
				c.Services[0].Classifier = severe{}
				c.Policies.Breaker = &breaker.Policy{}
				m := w.mesh(c)
				w.get(m, "http://reviews/")
				for range row.calls {
					_, err := get(w.Context(), m, "http://reviews/")
					require.Error(w, err)
				}
				b := service(w, m, "reviews").Breakers[0]
				assert.Equal(w, 1+row.calls, b.Calls)
				assert.Equal(w, row.failures, b.Failures)
			})
		})
	}
}
