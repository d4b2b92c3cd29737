package overload_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

func newGuard(t testing.TB, p overload.Policy) *overload.Guard {
	t.Helper()
	g, err := overload.New(p, overload.Options{CPU: func() float64 { return -1 }})
	require.NoError(t, err)
	return g
}

func enter(t testing.TB, g *overload.Guard) *overload.Ticket {
	t.Helper()
	ticket, err := g.Enter(t.Context())
	require.NoError(t, err)
	return &ticket
}

func refusal(t testing.TB, err error) overload.Error {
	t.Helper()
	e, ok := errors.AsType[*overload.Error](err)
	require.True(t, ok, "%v", err)
	return *e
}

func TestFullGuardRefusesAtOnce(t *testing.T) {
	for name, p := range map[string]overload.Policy{
		"fixed":    {MaxInFlight: 2, Waiting: -1},
		"adaptive": {Adaptive: overload.Adaptive{Max: 2}, Waiting: -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuard(t, p)
				first := enter(t, g)
				second := enter(t, g)
				begin := time.Now()
				_, err := g.Enter(t.Context())
				assert.Equal(t, overload.Error{InFlight: 2, Limit: 2, RetryAfter: time.Second}, refusal(t, err))
				assert.EqualError(t, err, "overloaded: 2 requests in flight of 2 and 0 waiting")
				assert.Zero(t, time.Since(begin))
				first.Leave(true)
				third := enter(t, g)
				assert.Equal(t, overload.Stats{InFlight: 2, Limit: 2, Peak: 2, Refused: 1}, g.Stats())
				second.Leave(true)
				third.Leave(true)
				assert.Zero(t, g.Stats().InFlight)
			})
		})
	}
}

func TestMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{MaxInFlight: 1})
		ticket := enter(t, g)
		begin := time.Now()
		_, err := g.Enter(t.Context())
		assert.Equal(t, 100*time.Millisecond, time.Since(begin), "the default")
		assert.Equal(t, overload.Error{InFlight: 1, Limit: 1, Waited: 100 * time.Millisecond, RetryAfter: time.Second}, refusal(t, err))
		assert.EqualError(t, err, "overloaded: 1 requests in flight of 1 and 0 waiting, no place within 100ms")
		time.AfterFunc(99*time.Millisecond, func() { ticket.Leave(true) })
		enter(t, g).Leave(true)
		s := g.Stats()
		assert.EqualValues(t, 1, s.Waited)
		assert.EqualValues(t, 1, s.Refused)
		assert.Zero(t, s.Waiting)
	})
}

// queued makes n requests wait, one after the other, and returns in which order
// they are let in.
func queued(t *testing.T, g *overload.Guard, n int, apart time.Duration) (order func() []int, wg *sync.WaitGroup) {
	var mu sync.Mutex
	var got []int
	wg = new(sync.WaitGroup)
	for i := range n {
		wg.Go(func() {
			ticket, err := g.Enter(t.Context())
			if err != nil {
				return
			}
			mu.Lock()
			got = append(got, i)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			ticket.Leave(true)
		})
		synctest.Wait()
		time.Sleep(apart)
	}
	return func() []int { mu.Lock(); defer mu.Unlock(); return got }, wg
}

// A short queue is served in order; a standing one from its end, for who has
// come last is the one who will still be there.
func TestOrderOfTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{MaxInFlight: 1})
		ticket := enter(t, g)
		order, wg := queued(t, g, 5, time.Millisecond)
		ticket.Leave(true)
		wg.Wait()
		assert.Equal(t, []int{0, 1, 2, 3, 4}, order())
	})
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{MaxInFlight: 1, MaxWait: 50 * time.Millisecond})
		ticket := enter(t, g)
		// Somebody always waits, for longer than MaxWait together.
		_, old := queued(t, g, 3, 20*time.Millisecond)
		order, wg := queued(t, g, 3, 0)
		ticket.Leave(true)
		wg.Wait()
		old.Wait()
		assert.Equal(t, []int{2, 1, 0}, order())
	})
}

// In a standing queue nobody waits for long: what could be served is served
// soon, or not at all.
func TestStandingQueueIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{MaxInFlight: 1, MaxWait: 50 * time.Millisecond})
		ticket := enter(t, g)
		_, old := queued(t, g, 3, 20*time.Millisecond)
		begin := time.Now()
		_, err := g.Enter(t.Context())
		refusal(t, err)
		assert.Equal(t, 5*time.Millisecond, time.Since(begin))
		old.Wait()
		time.Sleep(time.Second)
		begin = time.Now()
		_, err = g.Enter(t.Context())
		refusal(t, err)
		assert.Equal(t, 50*time.Millisecond, time.Since(begin), "it was empty, so there is a new one")
		ticket.Leave(true)
	})
}

// A queue that is full refuses who comes; one that stands too, rather who has
// waited longest.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{MaxInFlight: 1, Waiting: 2, MaxWait: 50 * time.Millisecond})
		ticket := enter(t, g)
		order, wg := queued(t, g, 2, 0)
		begin := time.Now()
		_, err := g.Enter(t.Context())
		assert.Equal(t, overload.Error{InFlight: 1, Waiting: 2, Limit: 1, RetryAfter: time.Second}, refusal(t, err))
		assert.Zero(t, time.Since(begin))
		ticket.Leave(true)
		wg.Wait()
		assert.Equal(t, []int{0, 1}, order())
	})
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{MaxInFlight: 1, Waiting: 2, MaxWait: 50 * time.Millisecond})
		ticket := enter(t, g)
		_, first := queued(t, g, 1, 30*time.Millisecond)
		second, both := queued(t, g, 1, 25*time.Millisecond)
		// The queue stands by now, with the second in it and a place beside.
		order, wg := queued(t, g, 2, 0)
		ticket.Leave(true)
		first.Wait()
		both.Wait()
		wg.Wait()
		assert.Empty(t, second(), "it made room")
		assert.Equal(t, []int{1, 0}, order())
	})
}

func TestEndedRequestsGetNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{MaxInFlight: 1})
		gone := errors.New("gone home")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		_, err := g.Enter(ctx)
		assert.ErrorIs(t, err, gone, "cancelled before")

		_, err = g.Enter(past{t.Context()})
		assert.ErrorIs(t, err, context.DeadlineExceeded, "expired, and not yet told")

		ticket := enter(t, g)
		ctx, cancel = context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancel(gone) })
		begin := time.Now()
		_, err = g.Enter(ctx)
		assert.ErrorIs(t, err, gone, "cancelled while it waited")
		assert.Equal(t, time.Millisecond, time.Since(begin))

		ctx, cancel = context.WithCancelCause(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := g.Enter(ctx)
			result <- err
		}()
		synctest.Wait()
		cancel(gone)
		ticket.Leave(true)
		assert.ErrorIs(t, <-result, gone, "cancelled at the moment of its place")

		s := g.Stats()
		assert.EqualValues(t, 4, s.Expired)
		assert.Zero(t, s.Refused)
		assert.Zero(t, s.InFlight)
		begin = time.Now()
		enter(t, g).Leave(true)
		assert.Zero(t, time.Since(begin), "the place is not lost")
	})
}

// past is a context that does not know yet that its time is over.
type past struct{ context.Context }

func (past) Deadline() (time.Time, bool) { return time.Now(), true }

// A limit that rises lets those in who wait.
func TestRisingLimitLetsWaitersIn(t *testing.T) {
	s := scenario{
		server: server{workers: 1000, work: 20 * time.Millisecond, slices: 1},
		seed:   1, load: constant(.03), patience: time.Minute, to: 40 * time.Second,
		policy: &overload.Policy{Waiting: 1 << 20, MaxWait: time.Minute, Adaptive: overload.Adaptive{Initial: 20}},
	}
	r := s.run(t)
	assert.Zero(t, r.stats.Refused)
	assert.Greater(t, r.stats.Limit, 30)
	assert.Zero(t, r.stats.Waiting)
}

func TestObserve(t *testing.T) {
	for name, p := range map[string]overload.Policy{
		"fixed":    {Mode: outcome.Observe, MaxInFlight: 2, Waiting: 1},
		"adaptive": {Mode: outcome.Observe, Adaptive: overload.Adaptive{Min: 2, Max: 2}, Waiting: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuard(t, p)
				var tickets []*overload.Ticket
				for range 5 {
					tickets = append(tickets, enter(t, g))
				}
				for i, ticket := range tickets {
					ticket.Leave(i != 3)
				}
				assert.Equal(t, overload.Stats{Limit: 2, Peak: 5, Waited: 1, WouldRefuse: 2, WouldRefuseSucceeded: 1}, g.Stats())
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				ticket, err := g.Enter(ctx)
				require.NoError(t, err)
				ticket.Leave(false)
				assert.EqualValues(t, 3, g.Stats().WouldRefuse)
			})
		})
	}
}

// Under Observe, who would have had to wait longer than allowed would have been
// refused. How long that is follows from the time that requests take.
func TestObservedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{Mode: outcome.Observe, MaxInFlight: 2, MaxWait: 100 * time.Millisecond})
		ticket := enter(t, g)
		time.Sleep(300 * time.Millisecond)
		ticket.Leave(true)
		require.Equal(t, 300*time.Millisecond, g.Stats().ServiceTime)
		for range 2 {
			enter(t, g)
		}
		assert.Zero(t, g.Stats().WouldRefuse)
		enter(t, g) // 150 ms until a place would become free
		assert.EqualValues(t, 1, g.Stats().WouldRefuse)
		assert.Zero(t, g.Stats().Waited)
	})
}

func TestTicketMisuse(t *testing.T) {
	var zero overload.Ticket
	zero.Untimed()
	zero.Leave(true)
	for _, p := range []overload.Policy{{MaxInFlight: 1}, {}} {
		g := newGuard(t, p)
		ticket := enter(t, g)
		ticket.Leave(true)
		ticket.Leave(true)
		assert.Zero(t, g.Stats().InFlight)
		enter(t, g)
	}
}

func TestExempt(t *testing.T) {
	g := newGuard(t, overload.Policy{Exempt: []match.Request{{Path: match.Path{Exact: "/healthz"}}, {Methods: []string{"OPTIONS"}}}})
	for _, row := range []struct {
		method, path string
		want         bool
	}{{"GET", "/healthz", true}, {"OPTIONS", "/", true}, {"GET", "/", false}} {
		assert.Equal(t, row.want, g.Exempt(httptest.NewRequest(row.method, row.path, http.NoBody)), row.path)
	}
	assert.False(t, newGuard(t, overload.Policy{}).Exempt(httptest.NewRequest("GET", "/", http.NoBody)))
}

// What is exempt by its path is so only if that has one reading: a handler may
// take another path for what it is.
func TestExemptPathsHaveOneReading(t *testing.T) {
	p := overload.Policy{Exempt: []match.Request{{Path: match.Path{Exact: "/healthz"}}, {Methods: []string{"PROBE"}}}}
	g, _ := full(t, p)
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := g.Middleware(mux)
	for target, status := range map[string]int{
		"GET /healthz": 204, "GET /jobs": 503, "PROBE /jobs": 418, "PROBE /jobs/%2e%2e/x": 418,
		"GET /jobs/%2e%2e/healthz": 503, "GET /jobs/..%2fhealthz": 503, "GET /%68ealthz": 503, "GET //healthz": 503,
	} {
		method, path, _ := strings.Cut(target, " ")
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(method, path, http.NoBody))
		assert.Equal(t, status, rec.Code, target)
	}
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequest("GET", "/jobs/%2e%2e/healthz", http.NoBody))
	assert.Equal(t, http.StatusTeapot, rec.Code, "the handler alone")
}
