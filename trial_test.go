package tulle_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// A trial is made by a call that can be repeated elsewhere, if one comes.
func TestTrialsAreMadeByCallsThatCanBeRepeated(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		c := fair(one(addrs...))
		c.Policies = tulle.Policies{Outliers: &health.Outliers{}, Retry: &retry.Policy{}}
		m := w.mesh(c)
		all[0].status.Store(503)
		require.Zero(w, w.calls(m, 30), "what failed is repeated")
		due := func() time.Time { return service(w, m, "reviews").Endpoints[0].Holds[0].Due }
		time.Sleep(time.Until(due()))
		served := all[0].served.Load()
		post := func() { _, _ = do(w.Context(), m, "POST", "http://reviews/", ""); synctest.Wait() }
		for range 10 {
			post()
		}
		require.Equal(w, served, all[0].served.Load(), "no POST is risked")
		require.Zero(w, w.calls(m, 10))
		require.Equal(w, served+1, all[0].served.Load(), "a GET is, and is repeated")
		time.Sleep(time.Until(due().Add(time.Second)))
		post()
		require.Equal(w, served+2, all[0].served.Load(), "a POST is where no GET came in time")
	})
}

// A call that has nothing to pick, since all of its subset is left out, makes
// the trial as soon as that is due.
func TestACallThatWaitsMakesTheTrial(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		src := newSource()
		src.set(endpoint.Info{Addr: addrs[0], Labels: map[string]string{"v": "1"}}, endpoint.Info{Addr: addrs[1]})
		c := fair(from(src))
		c.Policies.Outliers = &health.Outliers{}
		c.Services[0].Spread.Panic = -1
		c.Services[0].Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"v": "1"}}}
		c.Routes = []tulle.Route{{Name: "v1", Match: prefix("/v1"), Split: to(tulle.Destination{Service: "reviews", Subset: "v1"})}}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 20)
		all[0].status.Store(200)
		due := service(w, m, "reviews").Endpoints[0].Holds[0].Due
		require.Equal(w, 200, w.get(m, "http://reviews/v1").status)
		assert.WithinDuration(w, due, time.Now(), 20*time.Millisecond)
	})
}

// Under a classifier that judges at the end, a trial is judged there.
func TestATrialIsJudgedAtItsEnd(t *testing.T) {
	inBubble(t, func(w *world) {
		fails := tulletest.Step{Body: "x", Trailer: http.Header{"Grpc-Status": {"14"}}}
		s := w.serve("10.0.0.1:80", fails)
		c := one("10.0.0.1:80")
		c.Services[0].Classifier = outcome.GRPC{}
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3, HalfOpenCalls: 1, OpenFor: time.Second}
		var told incidents
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: told.add}))
		for range 100 {
			w.calls(m, 1)
			time.Sleep(100 * time.Millisecond)
		}
		require.Greater(w, s.Count(), 3, "there were trials")
		assert.Len(w, told.told(), 1, "one incident, for it never worked")
	})
}

// A trial that said nothing, for its caller had little time, is not
// followed by another at once: or all calls would be trials.
func TestNotEveryCallIsATrial(t *testing.T) {
	for name, p := range map[string]tulle.Policies{
		"outliers":        {Outliers: &health.Outliers{}},
		"endpointBreaker": {EndpointBreaker: &breaker.Policy{Consecutive: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, _ := w.fleet(2)
				var hang atomic.Bool
				var served atomic.Int64
				w.net.Serve(w.T, "10.0.0.9:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					served.Add(1)
					if hang.Load() {
						<-r.Context().Done()
						return
					}
					rw.WriteHeader(500)
				}))
				c := fair(one(append(addrs, "10.0.0.9:80")...))
				c.Policies = p
				m := w.mesh(c)
				w.calls(m, 20)
				require.NotEmpty(w, holds(endpointAt(w, service(w, m, "reviews"), "10.0.0.9:80")))
				hang.Store(true)
				time.Sleep(10 * time.Second)
				failed := 0
				for range 20 {
					ctx, cancel := context.WithTimeout(w.Context(), 50*time.Millisecond)
					if _, err := get(ctx, m, "http://reviews/"); err != nil {
						failed++
					}
					cancel()
				}
				assert.Less(w, failed, 5, "of 20 calls within a second")
			})
		})
	}
}

// Trials go with every policy of balancing.
func TestTrialsWithEveryBalancer(t *testing.T) {
	for _, b := range []balancer.Policy{balancer.PeakEWMA{}, balancer.RingHash{}, balancer.Maglev{}, balancer.Rendezvous{}, balancer.Random{}, balancer.LeastRequest{}} {
		inBubble(t, func(w *world) {
			addrs, all := w.fleet(3)
			c := one(addrs...)
			c.Services[0].Balancer = b
			c.Policies.Outliers = &health.Outliers{}
			m := w.mesh(c)
			all[0].status.Store(500)
			w.calls(m, 100)
			all[0].status.Store(200)
			time.Sleep(12 * time.Second)
			w.calls(m, 100)
			assert.Empty(w, holds(service(w, m, "reviews").Endpoints[0]), "%T", b)
		})
	}
}

// A call whose body cannot be sent twice is none that can be repeated
// elsewhere, whatever its method.
func TestATrialIsNotACallThatCannotBeRepeated(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		c := fair(one(addrs...))
		c.Policies = tulle.Policies{Outliers: &health.Outliers{}, Retry: &retry.Policy{BufferBody: -1}}
		m := w.mesh(c)
		all[0].status.Store(503)
		require.Zero(w, w.calls(m, 30))
		time.Sleep(time.Until(service(w, m, "reviews").Endpoints[0].Holds[0].Due))
		served := all[0].served.Load()
		req, err := http.NewRequestWithContext(w.Context(), "PUT", "http://reviews/", io.MultiReader(strings.NewReader("once")))
		require.NoError(w, err)
		a, err := read(m.Transport().RoundTrip(req))
		require.NoError(w, err)
		assert.Equal(w, 200, a.status)
		assert.Equal(w, served, all[0].served.Load())
	})
}

// The breaker of an endpoint refuses nobody: that calls look whether it
// has a trial to give is no refusal.
func TestLookingForATrialIsNoRefusal(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(2)
		slow := &tulletest.Script{Steps: []tulletest.Step{{Status: 500}, {Status: 500}, {Status: 500}}, Default: tulletest.Step{Delay: 9 * time.Second}}
		w.net.Serve(w.T, "10.0.0.9:80", slow)
		c := fair(one(append(addrs, "10.0.0.9:80")...))
		c.Policies.EndpointBreaker = &breaker.Policy{Consecutive: 3, HalfOpenCalls: 1}
		m := w.mesh(c)
		w.calls(m, 9)
		e := endpointAt(w, service(w, m, "reviews"), "10.0.0.9:80")
		require.Equal(w, []endpoint.Hold{endpoint.BreakerOpen}, holds(e))
		time.Sleep(time.Until(e.Holds[0].Due))
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(w.Context(), m, "http://reviews/") })
		synctest.Wait()
		require.Equal(w, 4, slow.Count(), "the trial is under way")
		w.calls(m, 100)
		assert.Zero(w, endpointAt(w, service(w, m, "reviews"), "10.0.0.9:80").Breaker.Refused)
		wg.Wait()
	})
}

// A trial that panics on its way gives everything back.
func TestATrialThatPanicsGivesAllBack(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		var on atomic.Bool
		c := fair(one(addrs...))
		c.Policies = tulle.Policies{Outliers: &health.Outliers{}, Limit: &breaker.Limit{}, EndpointBreaker: &breaker.Policy{Consecutive: 5, HalfOpenCalls: 1, HalfOpenFor: time.Hour}}
		m := w.mesh(c, tulle.WithAttemptMiddleware(func(next http.RoundTripper) http.RoundTripper {
			return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
				if on.Load() {
					panic("middleware")
				}
				return next.RoundTrip(r)
			})
		}))
		all[0].status.Store(503)
		w.calls(m, 30)
		all[0].status.Store(200)
		time.Sleep(12 * time.Second)
		on.Store(true)
		require.Panics(w, func() { _, _ = get(w.Context(), m, "http://reviews/") })
		on.Store(false)
		time.Sleep(20 * time.Millisecond)
		w.calls(m, 2)
		synctest.Wait()
		s := service(w, m, "reviews")
		assert.Empty(w, s.Endpoints[0].Holds)
		assert.Zero(w, s.Limits[0].InFlight)
		assert.Zero(w, s.Endpoints[0].InFlight)
	})
}

// All who wait for an endpoint that is left out go on as soon as the trial of
// one of them was good, also those who may not be that one.
func TestAllWaitersWakeWhenTheTrialIsGood(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		src := newSource()
		src.set(endpoint.Info{Addr: addrs[0], Labels: map[string]string{"v": "1"}}, endpoint.Info{Addr: addrs[1]})
		c := fair(from(src))
		c.Policies.Outliers = &health.Outliers{}
		c.Services[0].Spread.Panic = -1
		c.Services[0].Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"v": "1"}}}
		c.Routes = []tulle.Route{{Name: "v1", Match: prefix("/v1"), Split: to(tulle.Destination{Service: "reviews", Subset: "v1"})}}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 20)
		all[0].status.Store(200)
		due := service(w, m, "reviews").Endpoints[0].Holds[0].Due
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := do(w.Context(), m, "POST", "http://reviews/v1", "x")
				assert.NoError(w, err)
			})
		}
		wg.Go(func() { _, _ = get(w.Context(), m, "http://reviews/v1") })
		wg.Wait()
		assert.WithinDuration(w, due, time.Now(), 20*time.Millisecond)
	})
}

// An endpoint that several things hold is tried when the last of them is due,
// by one call for all of them.
func TestOneTrialForAllHolds(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(3)
		var served atomic.Int64
		var well atomic.Bool
		w.net.Serve(w.T, "10.0.0.9:80", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			switch n := served.Add(1); {
			case well.Load():
			case n == 5:
				rw.Header().Set(endpoint.LoadReportHeader, string(endpoint.LoadReport{Leaving: true}.AppendText(nil)))
				fallthrough
			default:
				rw.WriteHeader(503)
			}
		}))
		c := fair(one(append(addrs, "10.0.0.9:80")...))
		c.Policies = tulle.Policies{Outliers: &health.Outliers{}, EndpointBreaker: &breaker.Policy{Consecutive: 5, HalfOpenCalls: 1}, Retry: &retry.Policy{}}
		m := w.mesh(c)
		w.calls(m, 30)
		e := func() tulle.EndpointState { return endpointAt(w, service(w, m, "reviews"), "10.0.0.9:80") }
		require.Equal(w, []endpoint.Hold{endpoint.Ejected, endpoint.BreakerOpen, endpoint.Leaving}, holds(e()))
		require.EqualValues(w, 5, served.Load())
		due := e().Holds[0].Due
		require.True(w, due.After(e().Holds[1].Due.Add(time.Second)))
		require.True(w, due.After(e().Holds[2].Due.Add(time.Second)))
		well.Store(true)
		time.Sleep(time.Until(due) - 1)
		w.calls(m, 10)
		require.EqualValues(w, 5, served.Load(), "not before the last is due")
		time.Sleep(time.Nanosecond)
		w.calls(m, 1)
		require.EqualValues(w, 6, served.Load())
		require.Empty(w, holds(e()))
	})
}

// The first of several that wait for their trials is tried first.
func TestACallThatWaitsMakesTheFirstTrial(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(4)
		src := newSource()
		var infos []endpoint.Info
		for i, addr := range addrs {
			infos = append(infos, endpoint.Info{Addr: addr, Labels: map[string]string{"half": []string{"a", "b"}[i/2]}})
		}
		src.set(infos...)
		c := fair(from(src))
		c.Policies.Outliers = &health.Outliers{MaxEjectionPercent: 50}
		c.Services[0].Spread.Panic = -1
		c.Services[0].Subsets = []tulle.Subset{{Name: "a", Labels: map[string]string{"half": "a"}}}
		c.Routes = []tulle.Route{{Name: "a", Match: prefix("/a"), Split: to(tulle.Destination{Service: "reviews", Subset: "a"})}}
		m := w.mesh(c)
		all[1].status.Store(500)
		w.calls(m, 30)
		time.Sleep(4 * time.Second)
		all[0].status.Store(500)
		w.calls(m, 30)
		first, last := service(w, m, "reviews").Endpoints[1].Holds[0].Due, service(w, m, "reviews").Endpoints[0].Holds[0].Due
		require.Greater(w, last.Sub(first), time.Second)
		all[0].status.Store(200)
		all[1].status.Store(200)
		require.Equal(w, 200, w.get(m, "http://reviews/a").status)
		assert.WithinDuration(w, first, time.Now(), 20*time.Millisecond)
	})
}

// A call whose first attempt failed is not risked for a trial.
func TestARetryIsNoTrial(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		var failing atomic.Bool
		var others atomic.Int64
		for _, addr := range []string{"10.0.0.8:80", "10.0.0.9:80"} {
			w.net.Serve(w.T, addr, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				if others.Add(1); failing.CompareAndSwap(true, false) {
					time.Sleep(2 * time.Second)
					rw.WriteHeader(503)
				}
			}))
		}
		c := fair(one(append(addrs, "10.0.0.8:80", "10.0.0.9:80")...))
		c.Policies = tulle.Policies{Outliers: &health.Outliers{}, Retry: &retry.Policy{}}
		m := w.mesh(c)
		all[0].status.Store(503)
		require.Zero(w, w.calls(m, 30))
		time.Sleep(time.Until(service(w, m, "reviews").Endpoints[0].Holds[0].Due) - time.Second)
		served := all[0].served.Load()
		others.Store(0)
		failing.Store(true)
		require.Zero(w, w.calls(m, 1))
		require.EqualValues(w, 2, others.Load())
		require.Equal(w, served, all[0].served.Load(), "due meanwhile")
		require.Zero(w, w.calls(m, 1))
		require.Equal(w, served+1, all[0].served.Load(), "the next call makes the trial")
	})
}
