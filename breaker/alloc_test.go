//go:build !race

package breaker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
)

func TestAllocations(t *testing.T) {
	closed := newBreaker(t, breaker.Policy{Consecutive: 5, SlowCall: time.Hour}, breaker.Options{})
	now := time.Now()
	ok := result(outcome.Success)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		p, _ := closed.Allow(now)
		p.Done(ok)
	}), "closed")

	observed := newBreaker(t, breaker.Policy{Mode: outcome.Observe, OpenFor: time.Hour}, breaker.Options{})
	trip(t, observed)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		p, _ := observed.Allow(now)
		p.Done(ok)
	}), "would refuse")

	open := newBreaker(t, breaker.Policy{OpenFor: time.Hour}, breaker.Options{})
	trip(t, open)
	assert.EqualValues(t, 1, testing.AllocsPerRun(1000, func() { _, _ = open.Allow(now) }), "refused")

	l, err := breaker.NewLimiter(breaker.Limit{})
	require.NoError(t, err)
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		s, _ := l.Acquire(ctx)
		s.Release()
	}), "limiter")
}
