package tulle_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

// shadowed is a Config whose calls to reviews are copied to next, at two
// endpoints, with what protects next.
func (w *world) shadowed(p tulle.Policies, next ...string) tulle.Config {
	c := one("10.0.1.1:80")
	w.serve("10.0.1.1:80", tulletest.Step{})
	c.Services = append(c.Services, tulle.Service{Name: "next", Resolver: at(next...), Balancer: balancer.RoundRobin{}, Policies: p})
	c.Routes = []tulle.Route{{
		Name: "all", Match: prefix("/"), Split: to(tulle.Destination{Service: "reviews"}), Mirrors: []tulle.Mirror{{Service: "next"}},
	}}
	c.Routes[0].Match[0].Hosts = []string{"reviews"}
	return c
}

// direct makes calls to next itself.
func (w *world) direct(m *tulle.Mesh, n int) (failed int) {
	w.Helper()
	for range n {
		if a, err := get(w.Context(), m, "http://next/"); err != nil || a.status >= 500 {
			failed++
		}
		synctest.Wait()
	}
	return failed
}

// copies makes n copied calls and returns how many copies arrived.
func (w *world) copies(m *tulle.Mesh, n int, all []*faulty) (arrived int64) {
	w.Helper()
	sum := func() (sum int64) {
		for _, f := range all {
			sum += f.served.Load()
		}
		return sum
	}
	before := sum()
	require.Zero(w, w.calls(m, n))
	return sum() - before
}

// Copies go where calls would go, and are no trials: none while the breaker is
// not closed. Under Observe they all go, and it counts none of them.
func TestCopiesHeedTheBreaker(t *testing.T) {
	for _, mode := range []outcome.Mode{outcome.Enforce, outcome.Observe} {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(1)
				m := w.mesh(w.shadowed(tulle.Policies{Breaker: &breaker.Policy{Mode: mode, Consecutive: 3, HalfOpenCalls: 1}}, addrs...))
				want := int64(10)
				if mode == outcome.Enforce {
					want = 0
				}
				all[0].status.Store(500)
				require.EqualValues(w, 10, w.copies(m, 10, all), "what becomes of them opens nothing")
				require.Equal(w, breaker.Closed, service(w, m, "next").Breakers[0].State)
				w.direct(m, 3)
				all[0].status.Store(200)
				assert.Equal(w, want, w.copies(m, 10, all), "open")
				time.Sleep(time.Minute)
				assert.Equal(w, want, w.copies(m, 10, all), "a trial is due")
				assert.Equal(w, breaker.Open, service(w, m, "next").Breakers[0].State)
				assert.Zero(w, service(w, m, "next").Breakers[0].Refused)
				assert.Zero(w, service(w, m, "next").Breakers[0].WouldRefuse)
				require.Zero(w, w.direct(m, 1))
				assert.EqualValues(w, 10, w.copies(m, 10, all), "closed")
			})
		})
	}
}

// Copies take no places from calls, and need none.
func TestCopiesAreNotUnderTheLimit(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Second})
		m := w.mesh(w.shadowed(tulle.Policies{Limit: &breaker.Limit{InFlight: 1}}, "10.0.0.1:80"))
		require.Zero(w, w.calls(m, 3))
		require.Equal(w, 3, s.Count(), "all under way")
		assert.Zero(w, service(w, m, "next").Limits[0].Peak)
		require.Zero(w, w.direct(m, 1))
		time.Sleep(time.Second)
	})
}

// A copy is no trial of an endpoint.
func TestCopiesAreNoTrials(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		m := w.mesh(w.shadowed(tulle.Policies{Outliers: &health.Outliers{}}, addrs...))
		all[0].status.Store(500)
		w.direct(m, 20)
		all[0].status.Store(200)
		time.Sleep(time.Minute)
		served := all[0].served.Load()
		require.EqualValues(w, 10, w.copies(m, 10, all))
		require.Equal(w, served, all[0].served.Load())
		w.direct(m, 1)
		require.Equal(w, served+1, all[0].served.Load())
	})
}

// What a copy comes to is held against no endpoint, neither at its headers nor
// at its end.
func TestCopiesAreHeldAgainstNobody(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(1)
		s := w.serve("10.0.0.9:80", tulletest.Step{Body: "some words", Fault: tulletest.ResetBody})
		m := w.mesh(w.shadowed(tulle.Policies{
			Breaker: &breaker.Policy{Consecutive: 3}, Outliers: &health.Outliers{}, EndpointBreaker: &breaker.Policy{Consecutive: 3},
		}, addrs[0], "10.0.0.9:80"))
		w.calls(m, 20)
		require.Equal(w, 10, s.Count())
		n := service(w, m, "next")
		require.Equal(w, breaker.Closed, n.Breakers[0].State)
		for _, e := range n.Endpoints {
			assert.Empty(w, holds(e))
			assert.Zero(w, e.Failed, e.Addr)
			assert.Zero(w, e.Breaker.Calls, e.Addr)
		}
	})
}

// Who observes an endpoint counts no copies: a copy is no call to refuse.
func TestCopiesAreNotObserved(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		m := w.mesh(w.shadowed(tulle.Policies{
			EndpointBreaker: &breaker.Policy{Mode: outcome.Observe, Consecutive: 3, OpenFor: time.Hour},
		}, addrs...))
		all[0].status.Store(500)
		w.direct(m, 10)
		would := service(w, m, "next").Endpoints[0].Breaker.WouldRefuse
		require.NotZero(w, would)
		require.EqualValues(w, 10, w.copies(m, 10, all))
		assert.Equal(w, would, service(w, m, "next").Endpoints[0].Breaker.WouldRefuse)
	})
}
