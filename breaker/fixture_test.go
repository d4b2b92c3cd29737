package breaker_test

import (
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
)

func newBreaker(t testing.TB, p breaker.Policy, o breaker.Options) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New(p, o)
	require.NoError(t, err)
	return b
}

// result is one of that class, now.
func result(c outcome.Class) outcome.Result {
	r := outcome.Result{At: time.Now(), Latency: time.Millisecond}
	r.Class = c
	return r
}

// late is what a success turned into.
func late(c outcome.Class) outcome.Result {
	r := result(c)
	r.Late, r.Was = true, outcome.Success
	return r
}

// call makes one call that ends as c at once, and reports whether it was let
// through.
func call(b *breaker.Breaker, c outcome.Class) bool {
	p, err := b.Allow(time.Now())
	if err == nil {
		p.Done(result(c))
	}
	return err == nil
}

func calls(b *breaker.Breaker, n int, c outcome.Class) {
	for range n {
		call(b, c)
	}
}

// trip opens a breaker with the default volume.
func trip(t testing.TB, b *breaker.Breaker) {
	t.Helper()
	require.Equal(t, breaker.Closed, b.State())
	calls(b, 20, outcome.ServerError)
	require.Equal(t, breaker.Open, b.State())
}

// subject is a breaker with the default policy, ours or a bare one.
type subject interface {
	// allow returns a function that ends the call, nil if it is refused.
	allow() func(outcome.Class)
	state() string
}

type guarded struct{ *breaker.Breaker }

func (g guarded) state() string { return g.State().String() }

func (g guarded) allow() func(outcome.Class) {
	p, err := g.Allow(time.Now())
	if err != nil {
		return nil
	}
	return func(c outcome.Class) { p.Done(result(c)) }
}

// bare is the core with its own triggers and without guards.
type bare struct {
	circuitbreaker.CircuitBreaker[any]
}

func newBare() bare {
	return bare{circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(.5, 20, 10*time.Second).
		WithSuccessThreshold(3).WithDelay(5 * time.Second).Build()}
}

func (b bare) state() string {
	if b.IsHalfOpen() {
		return "half_open"
	}
	return b.State().String()
}

func (b bare) allow() func(outcome.Class) {
	if !b.TryAcquirePermit() {
		return nil
	}
	return func(c outcome.Class) {
		switch {
		case c.Failed():
			b.RecordFailure()
		case c == outcome.Success:
			b.RecordSuccess()
		}
	}
}
