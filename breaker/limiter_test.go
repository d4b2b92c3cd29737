package breaker_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
)

func newLimiter(t testing.TB, l breaker.Limit) *breaker.Limiter {
	t.Helper()
	limiter, err := breaker.NewLimiter(l)
	require.NoError(t, err)
	return limiter
}

func acquire(t testing.TB, l *breaker.Limiter) breaker.Slot {
	t.Helper()
	s, err := l.Acquire(t.Context())
	require.NoError(t, err)
	return s
}

func TestLimitRefusesAtOnce(t *testing.T) {
	l := newLimiter(t, breaker.Limit{InFlight: 2})
	first := acquire(t, l)
	acquire(t, l)
	_, err := l.Acquire(t.Context())
	refused, ok := errors.AsType[*breaker.LimitError](err)
	require.True(t, ok)
	assert.Equal(t, breaker.LimitError{InFlight: 2}, *refused)
	assert.EqualError(t, err, "concurrency limit: 2 calls in flight and 0 waiting")
	first.Release()
	acquire(t, l)
	assert.Equal(t, breaker.LimitStats{InFlight: 2, Peak: 2, Refused: 1}, l.Stats())
}

func TestWaitersComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, breaker.Limit{InFlight: 1, Waiting: 10})
		slot := acquire(t, l)
		assert.False(t, slot.Waited())
		var order []int
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				s := acquire(t, l)
				assert.True(t, s.Waited())
				order = append(order, i)
				time.Sleep(time.Second)
				s.Release()
			})
			synctest.Wait()
		}
		_, err := l.Acquire(t.Context())
		refused, ok := errors.AsType[*breaker.LimitError](err)
		require.True(t, ok)
		assert.Equal(t, breaker.LimitError{InFlight: 1, Waiting: 10}, *refused)
		slot.Release()
		last := acquire(t, l)
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, order, "nobody overtakes")
		last.Release()
		wg.Wait()
		assert.Equal(t, breaker.LimitStats{Peak: 1, Waited: 11, Refused: 1}, l.Stats())
	})
}

func TestMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, breaker.Limit{InFlight: 1, Waiting: 1, MaxWait: time.Second})
		slot := acquire(t, l)
		begin := time.Now()
		_, err := l.Acquire(t.Context())
		refused, ok := errors.AsType[*breaker.LimitError](err)
		require.True(t, ok)
		assert.Equal(t, breaker.LimitError{InFlight: 1, Waited: time.Second}, *refused)
		assert.EqualError(t, err, "concurrency limit: 1 calls in flight and 0 waiting, no place within 1s")
		assert.Equal(t, time.Second, time.Since(begin))
		assert.Equal(t, breaker.LimitStats{InFlight: 1, Peak: 1, Waited: 1, Refused: 1}, l.Stats())
		slot.Release()
		acquire(t, l)
	})
}

func TestContextEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("gone home")
		l := newLimiter(t, breaker.Limit{InFlight: 1, Waiting: 1})
		ctx, cancel := context.WithCancelCause(t.Context())
		acquire(t, l)
		time.AfterFunc(time.Second, func() { cancel(cause) })
		_, err := l.Acquire(ctx)
		assert.ErrorIs(t, err, cause)
		assert.Equal(t, breaker.LimitStats{InFlight: 1, Peak: 1, Waited: 1}, l.Stats())
	})
}

func TestObservedLimit(t *testing.T) {
	l := newLimiter(t, breaker.Limit{Mode: outcome.Observe, InFlight: 2, Waiting: 1})
	var slots []breaker.Slot
	for range 5 {
		slots = append(slots, acquire(t, l))
	}
	slots[0].Succeeded()
	slots[2].Succeeded()
	slots[4].Succeeded()
	assert.Equal(t, breaker.LimitStats{InFlight: 5, Peak: 5, Waited: 1, WouldRefuse: 2, WouldRefuseSucceeded: 1}, l.Stats())
	for _, s := range slots {
		s.Release()
	}
	assert.Zero(t, l.Stats().InFlight)
}

func TestSlotMisuse(t *testing.T) {
	var zero breaker.Slot
	zero.Release()
	zero.Succeeded()
	slot := acquire(t, newLimiter(t, breaker.Limit{}))
	slot.Release()
	assert.Panics(t, slot.Release)
}

// gate is a limiter of one place as a test sees it.
type gate interface {
	acquire(context.Context) (release func(), err error)
}

type limited struct{ *breaker.Limiter }

func (l limited) acquire(ctx context.Context) (func(), error) {
	s, err := l.Acquire(ctx)
	return s.Release, err
}

// forgetful hands places over as well, and forgets that the one it hands a
// place to may have gone.
type forgetful struct {
	mu    sync.Mutex
	taken bool
	queue []chan struct{}
}

func (f *forgetful) acquire(ctx context.Context) (func(), error) {
	f.mu.Lock()
	if !f.taken {
		f.taken = true
		f.mu.Unlock()
		return f.release, nil
	}
	ready := make(chan struct{})
	f.queue = append(f.queue, ready)
	f.mu.Unlock()
	select {
	case <-ready:
		return f.release, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *forgetful) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 {
		f.taken = false
		return
	}
	close(f.queue[0])
	f.queue = f.queue[1:]
}

// free reports whether a place is free after calls that were cancelled at the
// moment they were handed one.
func free(t *testing.T, g gate, rounds int) (ok bool) {
	synctest.Test(t, func(t *testing.T) {
		for range rounds {
			short, stop := context.WithTimeout(t.Context(), time.Minute)
			release, err := g.acquire(short)
			stop()
			if err != nil {
				return
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if release, err := g.acquire(ctx); err == nil {
					release()
				}
			})
			synctest.Wait()
			// It is cancelled, and handed the place before it can say so.
			cancel()
			release()
			wg.Wait()
		}
		ok = true
	})
	return ok
}

func TestPlaceOfACancelledCallIsNotLost(t *testing.T) {
	assert.True(t, free(t, limited{newLimiter(t, breaker.Limit{InFlight: 1, Waiting: 1})}, 100))
	assert.True(t, free(t, limited{newLimiter(t, breaker.Limit{InFlight: 1, Waiting: 1, MaxWait: time.Hour})}, 100))
	assert.False(t, free(t, &forgetful{}, 100), "negative control")
}

// Whatever races, there are never too many in flight, and none is left.
func TestSlotsAreNeitherLostNorDoubled(t *testing.T) {
	for seed := range uint64(8) {
		l := newLimiter(t, breaker.Limit{InFlight: 3, Waiting: 5, MaxWait: 50 * time.Microsecond * time.Duration(1+seed%2*1000)})
		var inside, most, got, refused, left atomic.Int64
		var wg sync.WaitGroup
		for g := range 16 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(g)))
				for range 500 {
					ctx, cancel := context.WithCancel(t.Context())
					if rng.IntN(2) == 0 {
						go cancel()
					}
					slot, err := l.Acquire(ctx)
					switch _, full := errors.AsType[*breaker.LimitError](err); {
					case err == nil:
						n := inside.Add(1)
						for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
						}
						got.Add(1)
						for range rng.IntN(200) {
							_ = rng.Uint64()
						}
						inside.Add(-1)
						slot.Release()
					case full:
						refused.Add(1)
					default:
						left.Add(1)
					}
					cancel()
				}
			})
		}
		wg.Wait()
		s := l.Stats()
		assert.LessOrEqual(t, most.Load(), int64(3))
		assert.LessOrEqual(t, s.Peak, 3)
		assert.Zero(t, s.InFlight, "seed %d", seed)
		assert.Zero(t, s.Waiting)
		assert.EqualValues(t, refused.Load(), s.Refused)
		assert.EqualValues(t, 16*500, got.Load()+refused.Load()+left.Load())
		assert.Positive(t, got.Load())
	}
}
