package ratelimit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// memory is a Store that can be made to fail.
type memory struct {
	mu    sync.Mutex
	used  map[string]int64
	asked int
	fail  func(context.Context) ([]ratelimit.Level, error)
}

func (m *memory) Take(ctx context.Context, charges []ratelimit.Charge) ([]ratelimit.Level, error) {
	m.mu.Lock()
	m.asked++
	fail := m.fail
	m.mu.Unlock()
	if fail != nil {
		return fail(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used == nil {
		m.used = map[string]int64{}
	}
	all := true
	levels := make([]ratelimit.Level, len(charges))
	for i, c := range charges {
		left := c.Policy.Burst - m.used[c.Policy.Name+"/"+c.Key]
		levels[i] = ratelimit.Level{Allowed: left >= c.Cost, Remaining: left, Reset: c.Policy.Period, RetryAfter: c.Policy.Period}
		all = all && levels[i].Allowed
	}
	for i, c := range charges {
		if all {
			m.used[c.Policy.Name+"/"+c.Key] += c.Cost
			levels[i].Remaining -= c.Cost
		}
	}
	return levels, nil
}

func (m *memory) failing(f func(context.Context) ([]ratelimit.Level, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = f
}

func shared(t *testing.T, s ratelimit.Store, mode ratelimit.FailureMode, policies ...ratelimit.Policy) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(ratelimit.Config{Policies: policies, Store: s, OnStoreFailure: mode, Fields: ratelimit.StandardFields})
	require.NoError(t, err)
	return l
}

func TestStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &memory{}
		policies := []ratelimit.Policy{
			{Name: "user", Requests: 2, Key: ratelimit.Key{Source: true}},
			{Name: "trial", Mode: outcome.Observe, Requests: 1},
			{Name: "all", Requests: 3, Period: time.Minute},
		}
		one, two := shared(t, s, ratelimit.FailClosed, policies...), shared(t, s, ratelimit.FailClosed, policies...)
		a, b := from("192.0.2.1:1"), from("192.0.2.2:1")
		now := time.Now()
		d := one.Take(a, 1, now)
		assert.True(t, d.Allowed && !d.WouldRefuse())
		assert.Equal(t, "user", d.Policy)
		d = two.Take(a, 1, now)
		assert.True(t, d.Allowed && d.WouldRefuse(), "they share the buckets")
		d = one.Take(a, 1, now)
		assert.False(t, d.Allowed)
		assert.Equal(t, time.Second, d.RetryAfter)
		assert.True(t, one.Take(b, 1, now).Allowed)
		d = two.Take(a, 1, now)
		assert.Equal(t, "all", d.Policy, "the longest wait")
		assert.False(t, two.Take(a, 9, now).Allowed, "more than the burst")
		assert.EqualValues(t, 2, two.Stats().Refused)
	})
}

// A Store that is slow, dead, wrong or mad costs each request its time-out at
// most, few requests even that, and the outcome is the one chosen.
func TestStoreFails(t *testing.T) {
	dead := errors.New("connection refused")
	for name, fail := range map[string]func(context.Context) ([]ratelimit.Level, error){
		"error":  func(context.Context) ([]ratelimit.Level, error) { return nil, dead },
		"slow":   func(ctx context.Context) ([]ratelimit.Level, error) { <-ctx.Done(); return nil, ctx.Err() },
		"deaf":   nil,
		"panic":  func(context.Context) ([]ratelimit.Level, error) { panic("mad") },
		"wrong":  func(context.Context) ([]ratelimit.Level, error) { return nil, nil },
		"absurd": func(context.Context) ([]ratelimit.Level, error) { return []ratelimit.Level{{Remaining: -1}}, nil },
	} {
		for mode, want := range map[ratelimit.FailureMode]int{ratelimit.FailOpen: 1000, ratelimit.FailClosed: 0, ratelimit.FailLocal: 5} {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				if name == "deaf" {
					fail = func(context.Context) ([]ratelimit.Level, error) { <-release; return nil, nil }
				}
				s := &memory{}
				s.failing(fail)
				l := shared(t, s, mode, ratelimit.Policy{Requests: 5, Period: time.Hour, Key: ratelimit.Key{Source: true}})
				r, start, allowed := from("192.0.2.1:1"), time.Now(), 0
				for range 1000 {
					d := l.Take(r, 1, time.Now())
					require.Error(t, d.StoreErr)
					if d.Allowed {
						allowed++
					}
				}
				assert.Equal(t, want, allowed, "%s, %v", name, mode)
				assert.LessOrEqual(t, time.Since(start), 5*20*time.Millisecond, "%s: five are asked and waited for", name)
				stats := l.Stats()
				assert.EqualValues(t, 5, stats.StoreFailed)
				assert.EqualValues(t, 995, stats.StoreSkipped)
				assert.True(t, stats.StoreResting)

				// It is asked again, once in a while, and trusted when it answers.
				time.Sleep(1100 * time.Millisecond)
				l.Take(r, 1, time.Now())
				l.Take(r, 1, time.Now())
				assert.EqualValues(t, 6, l.Stats().StoreFailed)
				s.failing(nil)
				time.Sleep(1100 * time.Millisecond)
				assert.NoError(t, l.Take(r, 1, time.Now()).StoreErr)
				assert.False(t, l.Stats().StoreResting)
				close(release)
			})
		}
	}
}

// Without the rest, a dead store costs every request its time-out: 256 at a
// time can wait for one that does not listen to its context, and no more.
func TestStoreDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := &memory{}
		s.failing(func(context.Context) ([]ratelimit.Level, error) { <-release; return nil, nil })
		l := shared(t, s, ratelimit.FailOpen, ratelimit.Policy{Requests: 5})
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() { assert.True(t, l.Take(from(""), 1, time.Now()).Allowed) })
		}
		wg.Wait()
		s.mu.Lock()
		assert.LessOrEqual(t, s.asked, 256)
		s.mu.Unlock()
		close(release)
	})
}

// Who goes away early says nothing about the Store.
func TestStoreAndLostPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &memory{}
		s.failing(func(ctx context.Context) ([]ratelimit.Level, error) { <-ctx.Done(); return nil, ctx.Err() })
		l := shared(t, s, ratelimit.FailOpen, ratelimit.Policy{Requests: 5})
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			d := l.Take(from("").WithContext(ctx), 1, time.Now())
			assert.ErrorIs(t, d.StoreErr, context.DeadlineExceeded)
			cancel()
		}
		assert.Zero(t, l.Stats().StoreFailed)
		assert.False(t, l.Stats().StoreResting)
	})
}

// A client is not told that it has asked too much when a Store has failed, nor
// what of it.
func TestStoreFailureAnswer(t *testing.T) {
	s := &memory{}
	s.failing(func(context.Context) ([]ratelimit.Level, error) { return nil, errors.New("secret-host:6379 refused") })
	l := shared(t, s, ratelimit.FailClosed, ratelimit.Policy{Requests: 5})
	w := httptest.NewRecorder()
	l.Handler(http.NotFoundHandler()).ServeHTTP(w, from(""))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.NotContains(t, w.Body.String(), "secret")
	assert.Empty(t, w.Header().Get("RateLimit"))
	assert.Empty(t, w.Header().Get("RateLimit-Policy"))
}
