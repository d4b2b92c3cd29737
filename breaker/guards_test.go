package breaker_test

import (
	"errors"
	"fmt"
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

// openTime is longer than the default policy stays open.
const openTime = 5*time.Second*5/4 + time.Millisecond

// tripAndWait has a breaker open until it is due.
func tripAndWait(t testing.TB, b *breaker.Breaker) {
	t.Helper()
	trip(t, b)
	time.Sleep(b.RetryAfter(time.Now()))
}

func expect(s subject, state string) error {
	if got := s.state(); got != state {
		return fmt.Errorf("%s, want %s", got, state)
	}
	return nil
}

func fail(s subject, n int, c outcome.Class) {
	for range n {
		if done := s.allow(); done != nil {
			done(c)
		}
	}
}

// guards are promises that a breaker without guards does not keep.
var guards = map[string]func(s subject) error{
	"a late failure does not reopen": func(s subject) error {
		old := s.allow()
		fail(s, 20, outcome.Reset)
		time.Sleep(openTime)
		s.allow()
		old(outcome.Reset)
		return expect(s, "half_open")
	},
	"late successes do not close": func(s subject) error {
		old := []func(outcome.Class){s.allow(), s.allow(), s.allow()}
		fail(s, 20, outcome.Reset)
		time.Sleep(openTime)
		s.allow()
		for _, done := range old {
			done(outcome.Success)
		}
		return expect(s, "half_open")
	},
	"cancelled trials give their places back": func(s subject) error {
		fail(s, 20, outcome.Reset)
		time.Sleep(openTime)
		fail(s, 3, outcome.Neutral)
		fail(s, 3, outcome.Success)
		return expect(s, "closed")
	},
	"trials asked to come later give their places back": func(s subject) error {
		fail(s, 20, outcome.Reset)
		time.Sleep(openTime)
		fail(s, 3, outcome.Overload)
		fail(s, 3, outcome.Success)
		return expect(s, "closed")
	},
	"lost trials expire": func(s subject) error {
		fail(s, 20, outcome.Reset)
		time.Sleep(openTime)
		for range 3 {
			s.allow()
		}
		if s.allow() != nil {
			return errors.New("a fourth trial")
		}
		time.Sleep(10 * time.Second)
		fail(s, 3, outcome.Success)
		return expect(s, "closed")
	},
	"a trial that has succeeded makes no room for another": func(s subject) error {
		fail(s, 20, outcome.Reset)
		time.Sleep(openTime)
		first, _, _ := s.allow(), s.allow(), s.allow()
		first(outcome.Success)
		if s.allow() != nil {
			return errors.New("a fourth trial")
		}
		return nil
	},
	"99 of 200 are no half": func(s subject) error {
		fail(s, 101, outcome.Success)
		fail(s, 99, outcome.Reset)
		return expect(s, "closed")
	},
}

func TestGuards(t *testing.T) {
	for name, promise := range guards {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				assert.NoError(t, promise(guarded{newBreaker(t, breaker.Policy{}, breaker.Options{})}))
				assert.Error(t, promise(newBare()), "negative control: the bare core")
			})
		})
	}
}

// What a trial says after its place was given to another still counts, so
// that a service slower than HalfOpenFor is found healthy.
func TestLostTrialsStillCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{HalfOpenFor: time.Second}, breaker.Options{})
		tripAndWait(t, b)
		var wg sync.WaitGroup
		for range 20 {
			if p, err := b.Allow(time.Now()); err == nil {
				wg.Go(func() {
					time.Sleep(3 * time.Second)
					p.Done(result(outcome.Success))
				})
			}
			time.Sleep(time.Second)
		}
		wg.Wait()
		assert.Equal(t, breaker.Closed, b.State())
	})
}

func TestExactlyTheTrials(t *testing.T) {
	for _, n := range []int{1, 3, 50} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Policy{HalfOpenCalls: n}, breaker.Options{})
			tripAndWait(t, b)
			var wg sync.WaitGroup
			var admitted, looked atomic.Int64
			start := make(chan struct{})
			for range 1000 {
				wg.Go(func() {
					if b.Due(time.Now()) {
						looked.Add(1)
					}
					<-start
					if p, err := b.Allow(time.Now()); err == nil {
						assert.True(t, p.Trial())
						admitted.Add(1)
					}
				})
			}
			synctest.Wait()
			close(start)
			wg.Wait()
			assert.EqualValues(t, n, admitted.Load())
			assert.EqualValues(t, 1000, looked.Load(), "negative control: looking is not taking")
			assert.False(t, b.Due(time.Now()))
		})
	}
}

// Whatever is said of a trial, and however often, it counts once.
func TestTrialsCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{}, breaker.Options{})
		tripAndWait(t, b)
		p, err := b.Allow(time.Now())
		require.NoError(t, err)
		for range 5 {
			p.Done(result(outcome.Success))
			p.Done(result(outcome.Neutral))
			p.Done(late(outcome.Success))
			p.Release()
		}
		assert.Equal(t, breaker.HalfOpen, b.State())
		left := 0
		for b.Due(time.Now()) {
			_, err := b.Allow(time.Now())
			require.NoError(t, err)
			left++
		}
		assert.Equal(t, 2, left)
	})
}

func TestRetryAfterIsWhatRemains(t *testing.T) {
	lengths := map[time.Duration]bool{}
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			b := newBreaker(t, breaker.Policy{}, breaker.Options{Service: "reviews", Draw: rng.Uint64})
			trip(t, b)
			opened := time.Now()
			whole := b.RetryAfter(opened)
			lengths[whole] = true
			assert.GreaterOrEqual(t, whole, 5*time.Second)
			assert.Less(t, whole, 5*time.Second*5/4)
			assert.Equal(t, opened.Add(whole), b.Stats().HalfOpenAt)
			for range 10 {
				time.Sleep(time.Duration(rng.Int64N(int64(whole) / 11)))
				_, err := b.Allow(time.Now())
				refused, ok := errors.AsType[*breaker.OpenError](err)
				require.True(t, ok)
				assert.Equal(t, whole-time.Since(opened), refused.RetryAfter)
				assert.Equal(t, opened.Add(whole), refused.Until)
			}
			time.Sleep(b.RetryAfter(time.Now()) - 1)
			assert.False(t, call(b, outcome.Success), "not a moment earlier")
			time.Sleep(time.Nanosecond)
			assert.True(t, b.Due(time.Now()))
			assert.True(t, call(b, outcome.Success), "and none later")
			assert.Zero(t, b.RetryAfter(time.Now()))
		})
	}
	assert.Greater(t, len(lengths), 40, "chance spreads the return")
}

// A breaker through any history comes back once the service is well, and its
// events take turns.
func TestNeverStuck(t *testing.T) {
	stuck := 0
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			var events []breaker.Event
			b := newBreaker(t, breaker.Policy{Consecutive: 5, SlowCall: time.Second, Mode: outcome.Mode(seed % 2)},
				breaker.Options{OnEvent: func(e breaker.Event) { events = append(events, e) }})
			trouble(guarded{b}, seed)
			convalesce(guarded{b})
			assert.Equal(t, breaker.Closed, b.State(), "seed %d", seed)
			for i, e := range events {
				assert.Equal(t, i%2 == 0, e.Open, "seed %d, event %d", seed, i)
			}
			assert.EqualValues(t, len(events), 2*b.Stats().Opened)

			control := newBare()
			trouble(control, seed)
			convalesce(control)
			if control.state() != "closed" {
				stuck++
			}
		})
	}
	assert.Greater(t, stuck, 40, "negative control: the bare core")
}

// trouble makes calls that end in all ways, late or never.
func trouble(s subject, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 11))
	var pending []func(outcome.Class)
	for range 2000 {
		if done := s.allow(); done != nil {
			pending = append(pending, done)
		}
		for len(pending) > 0 && rng.IntN(3) > 0 {
			i := rng.IntN(len(pending))
			if rng.IntN(10) > 0 {
				pending[i](outcome.Class(rng.IntN(int(outcome.Timeout) + 1)))
			}
			pending[i] = pending[len(pending)-1]
			pending = pending[:len(pending)-1]
		}
		time.Sleep(time.Duration(rng.Int64N(int64(400 * time.Millisecond))))
	}
}

// convalesce makes calls to a service that is well, for longer than an open
// time, the deadline of the trials and another open time take.
func convalesce(s subject) {
	for range 60 {
		fail(s, 5, outcome.Success)
		time.Sleep(time.Second)
	}
}
