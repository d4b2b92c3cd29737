package tulle_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// incidents collects what a listener is told.
type incidents struct {
	mu  sync.Mutex
	all []breaker.Event
}

func (i *incidents) add(e breaker.Event) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = append(i.all, e)
}

func (i *incidents) told() []breaker.Event {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]breaker.Event(nil), i.all...)
}

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

// Without a listener the log has a line at WARN when a breaker opens.
func TestBreakerWithoutAListenerIsLogged(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3}
		var log syncBuffer
		m := w.mesh(c, tulle.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		all[0].status.Store(503)
		w.calls(m, 50)
		assert.Equal(w, 1, strings.Count(log.String(), `level=WARN msg="breaker open" service=reviews`), log.String())
	})
}

// A listener that hangs holds up neither calls nor Shutdown for longer than
// that is given.
func TestAListenerThatHangsHarmsNobody(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3, OpenFor: time.Second}
		hang := make(chan struct{})
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: func(breaker.Event) { <-hang }}))
		for range 3 {
			all[0].status.Store(503)
			w.calls(m, 10)
			time.Sleep(2 * time.Second)
			all[0].status.Store(200)
			require.Zero(w, w.calls(m, 10))
		}
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		require.ErrorIs(w, m.Shutdown(ctx), context.DeadlineExceeded)
		close(hang)
		require.NoError(w, m.Shutdown(w.Context()))
	})
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

// No more attempts are under way than the limit says, up to the end of their
// bodies; others wait in line or are refused.
func TestLimit(t *testing.T) {
	for name, row := range map[string]struct {
		limit          *breaker.Limit
		good, inFlight int
	}{
		"refused":  {&breaker.Limit{InFlight: 3}, 3, 3},
		"waiting":  {&breaker.Limit{InFlight: 3, Waiting: 4}, 7, 3},
		"observed": {&breaker.Limit{Mode: outcome.Observe, InFlight: 3}, 10, 10},
		"without":  {nil, 10, 10},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{Body: "slow", BodyDelay: time.Second})
				c := one("10.0.0.1:80")
				c.Policies.Limit = row.limit
				m := w.mesh(c)
				var mu sync.Mutex
				good := 0
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						_, err := get(w.Context(), m, "http://reviews/")
						mu.Lock()
						defer mu.Unlock()
						if err == nil {
							good++
						} else {
							assert.Equal(w, outcome.LimitReached, asError(w, err).Reason)
						}
					})
				}
				synctest.Wait()
				assert.EqualValues(w, row.inFlight, service(w, m, "reviews").Endpoints[0].InFlight)
				wg.Wait()
				assert.Equal(w, row.good, good)
				if row.limit != nil {
					l := service(w, m, "reviews").Limits[0]
					assert.Zero(w, l.InFlight)
					assert.Zero(w, l.Waiting)
				}
			})
		})
	}
}

// A call whose time is over while it waits for a place says so.
func TestTimeIsOverInTheLine(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Minute})
		c := one("10.0.0.1:80")
		c.Policies.Limit = &breaker.Limit{InFlight: 1, Waiting: 10}
		m := w.mesh(c)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(w.Context(), m, "http://reviews/") })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		_, err := get(ctx, m, "http://reviews/")
		require.Equal(w, outcome.LimitReached, asError(w, err).Reason)
		require.ErrorIs(w, err, context.DeadlineExceeded)
		gone, leave := context.WithCancel(w.Context())
		time.AfterFunc(time.Second, leave)
		_, err = get(gone, m, "http://reviews/")
		require.Equal(w, outcome.Cancelled, asError(w, err).Reason)
		wg.Wait()
		require.Zero(w, service(w, m, "reviews").Limits[0].InFlight)
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
