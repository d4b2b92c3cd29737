package tulle_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// The report tells of each policy under Observe what it would have done and
// what became of those calls, while not one call fares other than without any
// policy. Under Enforce the same policies do it, and there is no report.
func TestReport(t *testing.T) {
	policies := func(mode outcome.Mode) tulle.Policies {
		return tulle.Policies{
			Breaker:         &breaker.Policy{Mode: mode, Consecutive: 3, OpenFor: time.Hour},
			EndpointBreaker: &breaker.Policy{Mode: mode, Consecutive: 4, OpenFor: time.Hour},
			Outliers:        &health.Outliers{Mode: mode, Consecutive5xx: 5},
			Probe:           &health.Probe{Mode: mode, Path: "/healthz", Interval: time.Second},
			Retry:           &retry.Policy{Mode: mode, Statuses: []int{500}},
			Fault:           &fault.Policy{Mode: mode, Abort: &fault.Abort{Status: 418, Percent: 100}},
		}
	}
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies = policies(outcome.Observe)
		m := w.mesh(c)
		require.Equal(w, "reviews", m.Report().Services[0].Name)
		time.Sleep(time.Second)
		all[0].status.Store(500)
		time.Sleep(5 * time.Second) // the probe fails too
		require.Equal(w, 10, w.calls(m, 10))
		all[0].status.Store(200)
		require.Zero(w, w.calls(m, 2))
		for name, want := range map[string]struct{ would, succeeded uint64 }{
			"breaker":         {9, 2},
			"endpointBreaker": {0, 0}, // the last endpoint is never left out
			"outliers":        {0, 0},
			"probe":           {12, 2},
			"retry":           {10, 0},
			"fault":           {12, 0},
		} {
			r := policyReport(w, m, name)
			assert.Equal(w, want.would, r.Would, name)
			assert.Equal(w, want.succeeded, r.Succeeded, name)
		}
		assert.Equal(w, []tulle.EndpointReport{{Addr: addrs[0], LeftOut: true, Would: 12, Succeeded: 2}}, policyReport(w, m, "probe").Endpoints)
		text := m.Report().String()
		assert.Contains(w, text, "service reviews: breaker would have had to refuse 9, of which 2 succeeded")
		assert.Contains(w, text, "would leave out 10.0.0.1:80 now")

		c.Policies = policies(outcome.Enforce)
		c.Policies.Fault = nil
		require.NoError(w, m.Apply(c))
		require.Empty(w, m.Report().Services)
		require.Equal(w, "no policy observes", m.Report().String())
		all[0].status.Store(500)
		w.calls(m, 10)
		require.NotZero(w, service(w, m, "reviews").Calls.Reasons[outcome.BreakerOpen], "and now it refuses")
	})
}

func policyReport(w *world, m *tulle.Mesh, name string) tulle.PolicyReport {
	w.Helper()
	for _, s := range m.Report().Services {
		for _, p := range s.Policies {
			if p.Policy == name {
				return p
			}
		}
	}
	w.Fatalf("nothing is reported of %s", name)
	return tulle.PolicyReport{}
}

// Outliers are told by endpoint.
func TestReportNamesTheEndpoint(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		c := fair(one(addrs...))
		c.Policies.Outliers = &health.Outliers{Mode: outcome.Observe}
		m := w.mesh(c)
		all[1].status.Store(503)
		w.calls(m, 30)
		r := policyReport(w, m, "outliers")
		require.Equal(w, []tulle.EndpointReport{{Addr: addrs[1], LeftOut: true, Would: 5}}, r.Endpoints)
		require.EqualValues(w, 5, r.Would)
	})
}

// Calls to unknown hosts that would have been refused are counted with what
// became of them.
func TestReportOfUnknownHosts(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("good:80", tulletest.Step{})
		w.serve("bad:80", tulletest.Step{Status: http.StatusBadGateway})
		m := w.mesh(tulle.Config{RefuseUnknownHosts: &tulle.RefuseUnknownHosts{Mode: outcome.Observe}})
		w.get(m, "http://good/")
		w.get(m, "http://good/")
		w.get(m, "http://bad/")
		_, err := get(w.Context(), m, "http://nobody/")
		require.Error(w, err)
		synctest.Wait()
		r := m.Report().UnknownHosts
		require.NotNil(w, r)
		assert.EqualValues(w, 4, r.Would)
		assert.EqualValues(w, 2, r.Succeeded)
		assert.Equal(w, "unknown hosts: refuseUnknownHosts would have had to refuse 4, of which 2 succeeded", m.Report().String())
		require.NoError(w, m.Apply(tulle.Config{}))
		assert.Nil(w, m.Report().UnknownHosts)
	})
}

// What is reported since the mesh was made is not lost with an endpoint.
func TestReportKeepsWhatWasCounted(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		src := newSource()
		src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]}, endpoint.Info{Addr: addrs[2]})
		c := fair(from(src))
		c.Policies.Outliers = &health.Outliers{Mode: outcome.Observe}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 60)
		was := policyReport(w, m, "outliers").Would
		require.NotZero(w, was)
		src.set(endpoint.Info{Addr: addrs[1]}, endpoint.Info{Addr: addrs[2]})
		synctest.Wait()
		assert.GreaterOrEqual(w, policyReport(w, m, "outliers").Would, was)
	})
}

// Under Observe, a call over the limit whose body breaks has not
// succeeded.
func TestLimitReportTakesBackWhatBrokeOff(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "some words", BodyDelay: time.Second, Fault: tulletest.ResetBody})
		c := one("10.0.0.1:80")
		c.Policies.Limit = &breaker.Limit{Mode: outcome.Observe, InFlight: 1}
		m := w.mesh(c)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { _, err := get(w.Context(), m, "http://reviews/"); assert.Error(w, err) })
		}
		wg.Wait()
		r := policyReport(w, m, "limit")
		require.NotZero(w, r.Would)
		assert.Zero(w, r.Succeeded)
	})
}

// What a probe would have spared is counted once, with what became of it in
// the end.
func TestReportOfAProbeKnowsTheEndOfBodies(t *testing.T) {
	inBubble(t, func(w *world) {
		breaks := tulletest.Script{Default: tulletest.Step{Body: "some words", Fault: tulletest.ResetBody}}
		w.net.Serve(w.T, "10.0.0.1:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/healthz":
				rw.WriteHeader(503)
			case "/breaks":
				breaks.ServeHTTP(rw, r)
			}
		}))
		c := one("10.0.0.1:80")
		c.Policies.Probe = &health.Probe{Mode: outcome.Observe, Path: "/healthz", Interval: time.Second}
		m := w.mesh(c)
		time.Sleep(5 * time.Second)
		require.Zero(w, w.calls(m, 2))
		for range 3 {
			_, err := get(w.Context(), m, "http://reviews/breaks")
			require.Error(w, err)
		}
		r := policyReport(w, m, "probe")
		assert.EqualValues(w, 5, r.Would)
		assert.EqualValues(w, 2, r.Succeeded)
	})
}

// What acts needs no report, whatever else observes.
func TestReportIsOfWhatObserves(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(1)
		c := one(addrs...)
		c.Policies = tulle.Policies{
			Limit: &breaker.Limit{}, Breaker: &breaker.Policy{}, Outliers: &health.Outliers{}, EndpointBreaker: &breaker.Policy{},
			Probe: &health.Probe{Mode: outcome.Observe}, Retry: &retry.Policy{},
		}
		m := w.mesh(c)
		r := m.Report()
		require.Len(w, r.Services, 1)
		require.Len(w, r.Services[0].Policies, 1)
		assert.Equal(w, "probe", r.Services[0].Policies[0].Policy)
	})
}

// An endpoint that would have been left out is told of also when it works
// again.
func TestReportKeepsEndpointsThatWorkAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		c := fair(one(addrs...))
		c.Policies.Outliers = &health.Outliers{Mode: outcome.Observe}
		m := w.mesh(c)
		all[1].status.Store(503)
		w.calls(m, 30)
		all[1].status.Store(200)
		time.Sleep(time.Minute)
		w.calls(m, 30)
		assert.Equal(w, []tulle.EndpointReport{{Addr: addrs[1], Would: 5}}, policyReport(w, m, "outliers").Endpoints)
	})
}

// A fault that several routes share is told of once.
func TestReportOfASharedFault(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(1)
		c := one(addrs...)
		shared := &fault.Policy{Mode: outcome.Observe, Abort: &fault.Abort{Status: 418, Percent: 100}}
		for i, name := range []string{"a", "b"} {
			c.Routes = append(c.Routes, tulle.Route{Name: name, Match: prefix("/" + name), Policies: tulle.Policies{
				Fault: shared, Timeout: time.Duration(i+1) * time.Second,
			}})
		}
		m := w.mesh(c)
		w.get(m, "http://reviews/a")
		w.get(m, "http://reviews/b")
		w.get(m, "http://reviews/b")
		r := m.Report()
		require.Len(w, r.Services, 1)
		assert.Equal(w, []tulle.PolicyReport{{Policy: "fault", Verb: "disturb", Would: 3}}, r.Services[0].Policies)
	})
}

// What a limit would have refused is counted with what became of it: what
// failed anyway is told apart.
func TestReportOfALimit(t *testing.T) {
	for status, succeeded := range map[int]uint64{200: 3, 500: 0} {
		inBubble(t, func(w *world) {
			w.serve("10.0.0.1:80", tulletest.Step{Status: status, Delay: time.Second})
			c := one("10.0.0.1:80")
			c.Policies.Limit = &breaker.Limit{Mode: outcome.Observe, InFlight: 2}
			m := w.mesh(c)
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() { _, _ = get(w.Context(), m, "http://reviews/") })
			}
			wg.Wait()
			r := policyReport(w, m, "limit")
			assert.EqualValues(w, 3, r.Would, status)
			assert.EqualValues(w, succeeded, r.Succeeded, status)
		})
	}
}
