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
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

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

// A retry neither waits for the place that its first attempt still holds, while
// its response is kept, nor is refused because of it.
func TestARetryDoesNotWaitForItsOwnPlace(t *testing.T) {
	for _, waiting := range []int{0, 1} {
		inBubble(t, func(w *world) {
			w.serve("10.0.0.1:80", tulletest.Step{Status: 503, Body: "sorry"}, tulletest.Step{Body: "fine"})
			c := one("10.0.0.1:80")
			c.Policies.Retry = &retry.Policy{}
			c.Policies.Limit = &breaker.Limit{InFlight: 1, Waiting: waiting}
			m := w.mesh(c)
			ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
			defer cancel()
			begin := time.Now()
			a, err := get(ctx, m, "http://reviews/")
			assert.NoError(w, err, "waiting %d", waiting)
			assert.Equal(w, 200, a.status, "waiting %d", waiting)
			assert.Less(w, time.Since(begin), time.Second, "waiting %d", waiting)
		})
	}
}

// Calls that all retry at once do not wait for each other's places.
func TestRetriesDoNotBlockEachOther(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 503, Body: "sorry", Delay: time.Second})
		c := one("10.0.0.1:80")
		c.Policies.Retry = &retry.Policy{}
		c.Policies.Limit = &breaker.Limit{InFlight: 4, Waiting: 4}
		m := w.mesh(c)
		ctx, cancel := context.WithTimeout(w.Context(), time.Hour)
		defer cancel()
		begin := time.Now()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { _, _ = get(ctx, m, "http://reviews/") })
		}
		wg.Wait()
		assert.Less(w, time.Since(begin), time.Minute)
	})
}

// Http.Request.Cancel ends the wait for a place, as it ends that for an
// endpoint.
func TestOldCancelEndsTheWaitForAPlace(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Hour})
		c := one("10.0.0.1:80")
		c.Policies.Limit = &breaker.Limit{InFlight: 1, Waiting: 1}
		m := w.mesh(c)
		first, leave := context.WithCancel(w.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(first, m, "http://reviews/") })
		synctest.Wait()
		req, err := http.NewRequest("GET", "http://reviews/", nil)
		require.NoError(w, err)
		cancel := make(chan struct{})
		//lint:ignore SA1019 callers may still set it
		req.Cancel = cancel
		time.AfterFunc(time.Second, func() { close(cancel) })
		begin := time.Now()
		wg.Go(func() {
			_, err := m.Transport().RoundTrip(req)
			assert.Error(w, err)
			assert.Equal(w, time.Second, time.Since(begin))
		})
		time.Sleep(10 * time.Second)
		leave()
		wg.Wait()
	})
}

// Who stands in line when the breaker opens does not go on as if it had
// not.
func TestTheLineHeedsTheBreaker(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80", tulletest.Step{Status: 500, Delay: 100 * time.Millisecond})
		c := one("10.0.0.1:80")
		c.Policies.Limit = &breaker.Limit{InFlight: 1, Waiting: 100}
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3, OpenFor: time.Hour}
		m := w.mesh(c)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { _, _ = get(w.Context(), m, "http://reviews/") })
		}
		wg.Wait()
		require.Equal(w, breaker.Open, service(w, m, "reviews").Breakers[0].State)
		assert.LessOrEqual(w, s.Count(), 4)
	})
}

// panicky is a policy whose picker panics while it is told to.
type panicky struct{ on *atomic.Bool }

func (panicky) Validate() error { return nil }

func (p panicky) New(env balancer.Env) balancer.Balancer {
	return panickyBalancer{balancer.RoundRobin{}.New(env), p.on}
}

type panickyBalancer struct {
	balancer.Balancer
	on *atomic.Bool
}

func (b panickyBalancer) Update(eps []*endpoint.Endpoint) balancer.Picker {
	return panickyPicker{b.Balancer.Update(eps), b.on}
}

type panickyPicker struct {
	balancer.Picker
	on *atomic.Bool
}

func (p panickyPicker) Pick(q balancer.Query) *endpoint.Endpoint {
	if p.on.Load() {
		panic("picker")
	}
	return p.Picker.Pick(q)
}

// A picker that panics costs neither a place nor the trial of the
// service's breaker.
func TestAPanicInThePickerGivesBackPermits(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		on := new(atomic.Bool)
		c := one(addrs...)
		c.Services[0].Balancer = panicky{on}
		c.Policies.Limit = &breaker.Limit{InFlight: 1}
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3, HalfOpenCalls: 1, HalfOpenFor: time.Hour}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 3)
		all[0].status.Store(200)
		time.Sleep(10 * time.Second)
		on.Store(true)
		assert.Panics(w, func() { _, _ = get(w.Context(), m, "http://reviews/") })
		on.Store(false)
		s := service(w, m, "reviews")
		assert.Zero(w, s.Limits[0].InFlight)
		_, err := get(w.Context(), m, "http://reviews/")
		assert.NoError(w, err)
		assert.Equal(w, breaker.Closed, service(w, m, "reviews").Breakers[0].State)
	})
}

// A call that finds no place gives back what the breaker had let it have.
func TestARefusedCallIsNoTrialOfTheBreaker(t *testing.T) {
	inBubble(t, func(w *world) {
		var failing atomic.Bool
		release := make(chan struct{})
		w.net.Serve(w.T, "10.0.0.1:80", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/other" {
				<-release
			} else if failing.Load() {
				rw.WriteHeader(500)
			}
		}))
		c := one("10.0.0.1:80")
		c.Policies.Limit = &breaker.Limit{InFlight: 1}
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3, HalfOpenCalls: 1, HalfOpenFor: time.Hour, OpenFor: time.Second}
		c.Routes = []tulle.Route{{Name: "other", Match: prefix("/other"), Policies: tulle.Policies{Breaker: &breaker.Policy{}}}}
		m := w.mesh(c)
		failing.Store(true)
		w.calls(m, 3)
		failing.Store(false)
		time.Sleep(2 * time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(w.Context(), m, "http://reviews/other"); assert.NoError(w, err) })
		synctest.Wait()
		_, err := get(w.Context(), m, "http://reviews/")
		require.Equal(w, outcome.LimitReached, asError(w, err).Reason)
		close(release)
		wg.Wait()
		w.get(m, "http://reviews/")
	})
}

// The time that an attempt has taken begins when it has its place.
func TestTheLineIsNoLatency(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Second})
		c := one("10.0.0.1:80")
		c.Policies.Limit = &breaker.Limit{InFlight: 1, Waiting: 10}
		var mu sync.Mutex
		var took []time.Duration
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{AttemptDone: func(d tulle.AttemptDone) {
			mu.Lock()
			defer mu.Unlock()
			took = append(took, d.Result.Latency)
		}}))
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { w.get(m, "http://reviews/") })
		}
		wg.Wait()
		assert.Equal(w, []time.Duration{time.Second, time.Second, time.Second}, took)
	})
}

// An equal limit goes on with the calls that it has when a configuration is
// replaced.
func TestALimitOutlivesApply(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Second})
		c := one("10.0.0.1:80")
		c.Policies.Limit = &breaker.Limit{InFlight: 1}
		m := w.mesh(c)
		var wg sync.WaitGroup
		wg.Go(func() { w.get(m, "http://reviews/") })
		synctest.Wait()
		c.Policies.Limit = &breaker.Limit{InFlight: 1}
		require.NoError(w, m.Apply(c))
		_, err := get(w.Context(), m, "http://reviews/")
		require.Equal(w, outcome.LimitReached, asError(w, err).Reason)
		c.Policies.Limit = &breaker.Limit{InFlight: 2}
		require.NoError(w, m.Apply(c))
		w.get(m, "http://reviews/")
		wg.Wait()
	})
}

// A response whose call is not repeated after all keeps its place to the end
// of its body: because the retry is refused, or has no body to send or nowhere to go.
func TestAPlaceIsGivenBackWhereNothingIsRepeated(t *testing.T) {
	for name, row := range map[string]struct {
		policy *breaker.Policy
		again  error
		gone   bool
	}{"refused": {policy: &breaker.Policy{Consecutive: 1}}, "no body": {again: io.ErrUnexpectedEOF}, "no endpoint": {gone: true}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{Status: 503, Body: "sorry", Delay: time.Second, BodyDelay: time.Second})
				src := newSource()
				src.set(endpoint.Info{Addr: "10.0.0.1:80"})
				c := from(src)
				c.Policies = tulle.Policies{Retry: &retry.Policy{}, Limit: &breaker.Limit{InFlight: 1}, Breaker: row.policy}
				m := w.mesh(c)
				synctest.Wait()
				if row.gone {
					time.AfterFunc(time.Second/2, func() { src.set() })
				}
				req, err := http.NewRequestWithContext(w.Context(), "PUT", "http://reviews/", strings.NewReader("words"))
				require.NoError(w, err)
				req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("words")), row.again }
				resp, err := m.Transport().RoundTrip(req)
				require.NoError(w, err)
				require.Equal(w, 1, service(w, m, "reviews").Limits[0].InFlight)
				a, err := read(resp, nil)
				require.NoError(w, err)
				require.Equal(w, "sorry", a.body)
				require.Zero(w, service(w, m, "reviews").Limits[0].InFlight)
				for _, e := range service(w, m, "reviews").Endpoints {
					require.Zero(w, e.InFlight)
				}
			})
		})
	}
}

// A retry that is not sent after all is no trial of the breaker either.
func TestARetryThatIsNotSentIsNoTrialOfTheBreaker(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Retry = &retry.Policy{Statuses: []int{404}}
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3, HalfOpenCalls: 2, HalfOpenFor: time.Hour}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 3)
		time.Sleep(time.Minute)
		all[0].status.Store(404)
		req, err := http.NewRequestWithContext(w.Context(), "PUT", "http://reviews/", strings.NewReader("words"))
		require.NoError(w, err)
		req.GetBody = func() (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF }
		a, err := read(m.Transport().RoundTrip(req))
		require.NoError(w, err)
		require.Equal(w, 404, a.status)
		require.Equal(w, breaker.HalfOpen, service(w, m, "reviews").Breakers[0].State)
		all[0].status.Store(200)
		w.get(m, "http://reviews/")
		require.Equal(w, breaker.Closed, service(w, m, "reviews").Breakers[0].State)
	})
}
