//go:build !race

package ratelimit_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/ratelimit"
)

// rates are awkward ones: those that no whole number of nanoseconds lies
// between, very slow and very fast ones.
func rates() []ratelimit.Policy {
	return []ratelimit.Policy{
		{Requests: 1},
		{Requests: 3},
		{Requests: 7, Burst: 1},
		{Requests: 100, Period: time.Minute, Burst: 20},
		{Requests: 1000, Period: 24 * time.Hour},
		{Requests: 1, Period: 366 * 24 * time.Hour, Burst: 10},
		{Requests: 1_000_000, Burst: 3},
		{Requests: 700_000_000, Burst: 50},
		{Requests: 999_999_937, Burst: 5},
		{Requests: 1_000_000_000, Burst: 1},
		{Requests: 3_999_999_999, Burst: 1000},
		{Requests: 1<<31 - 1, Period: time.Hour, Burst: 1 << 20},
	}
}

// tokens is the reference: a token bucket in exact numbers. What it holds is
// counted in tokens times the period in nanoseconds.
type tokens struct {
	requests, period, full, level *big.Int
	last                          time.Duration
}

func newTokens(p ratelimit.Policy) *tokens {
	p = p.Effective()
	period := big.NewInt(int64(p.Period))
	full := new(big.Int).Mul(big.NewInt(p.Burst), period)
	return &tokens{big.NewInt(p.Requests), period, full, new(big.Int).Set(full), 0}
}

// at fills the bucket up to a time.
func (t *tokens) at(now time.Duration) {
	gain := new(big.Int).Mul(big.NewInt(int64(now-t.last)), t.requests)
	t.level.Add(t.level, gain)
	t.last = now
	if t.level.Cmp(t.full) > 0 {
		t.level.Set(t.full)
	}
}

// spare returns what would be left after a charge, in nanoseconds of the rate.
func (t *tokens) spare(cost int64) float64 {
	left := new(big.Int).Sub(t.level, new(big.Int).Mul(big.NewInt(cost), t.period))
	ns, _ := new(big.Rat).SetFrac(left, t.requests).Float64()
	return ns
}

func (t *tokens) take(cost int64) { t.level.Sub(t.level, new(big.Int).Mul(big.NewInt(cost), t.period)) }

type taker func(cost int64, now time.Duration) bool

// trace sends requests at random times for ten years at most and returns the
// first decision that is off by two nanoseconds or more, "" if there is none.
func trace(p ratelimit.Policy, seed uint64, take taker) string {
	p = p.Effective()
	random := rand.New(rand.NewPCG(seed, uint64(p.Requests)))
	interval := float64(p.Period) / float64(p.Requests)
	ref := newTokens(p)
	now := time.Duration(0)
	for i := range 20_000 {
		gap := 0.
		switch random.IntN(8) {
		case 0, 1, 2, 3:
			gap = interval * random.Float64()
		case 4:
			gap = interval * float64(random.Int64N(min(p.Burst, 1000)+1))
		case 5:
			gap = max(0, -ref.spare(1)) + float64(random.IntN(5)) - 2 // about when it is time
		case 6:
			if random.IntN(100) == 0 {
				gap = interval * float64(p.Burst) * 2 * random.Float64()
			}
		}
		if next := now + time.Duration(max(gap, 0)); next < 10*365*24*time.Hour {
			now = next
		}
		ref.at(now)
		cost := min(1+random.Int64N(2)*random.Int64N(min(p.Burst, 10)), p.Burst)
		spare := ref.spare(cost)
		got := take(cost, now)
		if math.Abs(spare) >= 2 && got != (spare >= 0) {
			return fmt.Sprintf("request %d after %v: %t, though %v ns are to spare", i, now, got, spare)
		}
		if got {
			ref.take(cost)
		}
	}
	return ""
}

// A policy decides as a token bucket does that knows no rounding, whatever its
// rate: the burst is exact and nothing drifts.
func TestExact(t *testing.T) {
	for _, p := range rates() {
		synctest.Test(t, func(t *testing.T) {
			for seed := range uint64(3) {
				l := limiter(t, p)
				start, r := time.Now(), from("")
				assert.Empty(t, trace(p, seed, func(cost int64, now time.Duration) bool {
					return l.Take(r, cost, start.Add(now)).Allowed
				}), "%+v", p)
			}
		})
	}
}

// Whole nanoseconds between requests are what it takes to be wrong.
func TestExactFinds(t *testing.T) {
	found := 0
	for _, p := range rates() {
		e := p.Effective()
		interval := e.Period / time.Duration(e.Requests)
		full := interval * time.Duration(e.Burst)
		tat := time.Duration(0)
		if trace(p, 0, func(cost int64, now time.Duration) bool {
			after := max(tat, now) + interval*time.Duration(cost)
			if after-now > full {
				return false
			}
			tat = after
			return true
		}) != "" {
			found++
		}
	}
	assert.GreaterOrEqual(t, found, 3)
}

// What a decision says of the future comes true to the nanosecond.
func TestRetryAfterIsExact(t *testing.T) {
	for _, p := range rates() {
		synctest.Test(t, func(t *testing.T) {
			l := limiter(t, p)
			burst := p.Effective().Burst
			start, r := time.Now().Add(123_456_789), from("")
			now := start
			for i := range 50 {
				if now.Sub(start) > 15*365*24*time.Hour {
					break
				}
				d := l.Take(r, burst, now)
				if i == 0 {
					require.True(t, d.Allowed)
					assert.Zero(t, d.Remaining)
					continue
				}
				require.False(t, d.Allowed, "%+v", p)
				require.Positive(t, d.RetryAfter)
				if d.RetryAfter > 2 {
					require.False(t, l.Take(r, burst, now.Add(d.RetryAfter-2)).Allowed, "%+v: too late", p)
				}
				now = now.Add(d.RetryAfter)
				require.True(t, l.Take(r, burst, now).Allowed, "%+v: too early", p)
			}
		})
	}
}

// A clock that is set back lets nobody have more than the time that has really
// passed is good for.
func TestClockGoesBack(t *testing.T) {
	p := ratelimit.Policy{Requests: 100, Burst: 10}
	run := func(take taker) (over int) {
		random := rand.New(rand.NewPCG(1, 2))
		now, latest, allowed := time.Duration(0), time.Duration(0), 0
		for range 100_000 {
			now = max(0, now+time.Duration(random.Int64N(int64(2*time.Second)))-time.Second+time.Millisecond)
			latest = max(latest, now)
			if take(1, now) {
				allowed++
			}
			over = max(over, allowed-10-int(latest/(10*time.Millisecond)))
		}
		return over
	}
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, p)
		start, r := time.Now(), from("")
		assert.LessOrEqual(t, run(func(_ int64, now time.Duration) bool { return l.Take(r, 1, start.Add(now)).Allowed }), 0)
		assert.False(t, l.Take(r, 11, start.Add(-time.Hour)).Allowed, "before the beginning")
	})
	// A bucket that fills by the difference to the last request does.
	level, last := 10., time.Duration(0)
	assert.Positive(t, run(func(_ int64, now time.Duration) bool {
		level = min(10, level+max(0, (now-last).Seconds())*100)
		last = now
		if level < 1 {
			return false
		}
		level--
		return true
	}))
}
