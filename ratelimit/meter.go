package ratelimit

import (
	"math"
	"math/bits"
	"time"
)

// meter is the arithmetic of one policy: GCRA, the generic cell rate algorithm
// of ITU-T I.371, appendix I, in its form of a virtual scheduling.
//
// A bucket is one number, the time at which it will be full again, its
// theoretical arrival time. Time is counted in ticks of the policy's own: a
// request costs 2^shift of them exactly, and shift is such that a tick lasts
// more than half a nanosecond and no more than a whole one, unless there is
// less than that between two requests. So neither the cost nor the burst is
// ever rounded, whatever the rate. Only the clock is, each reading for itself,
// by less than a tick: nothing adds up.
type meter struct {
	// mul is ticks per nanosecond, times 2^62, in [2^62, 2^64).
	mul uint64
	// inverse is nanoseconds per tick, times 2^64, rounded down.
	inverse uint64
	shift   uint8
	// full is what the burst costs, in ticks.
	full int64
	// slack is the tick by which the clock may be late, where a request costs
	// much more than one: so nobody is told, or has to wait, a nanosecond more
	// than a whole second. It is of one reading too, and does not add up.
	slack int64
}

const (
	// maxPeriod and maxRefill keep all sums of ticks far from 2^63: there are
	// less than four ticks to a nanosecond where a tick is a request, and no
	// more than two elsewhere.
	maxPeriod = 366 * 24 * time.Hour
	maxRefill = 10 * maxPeriod
	// maxUptime bounds the clock.
	maxUptime = 1<<60 - 1
)

// newMeter returns the meter of a valid policy: requests per period is below
// four per nanosecond.
func newMeter(requests int64, period time.Duration, burst int64) meter {
	var m meter
	ticks := uint64(requests)
	for ticks < uint64(period) {
		ticks <<= 1
		m.shift++
	}
	// Rounded up, by less than a quarter of a tick in all of maxUptime, so that
	// a whole number of nanoseconds that is due is enough.
	mul, rest := bits.Div64(ticks>>2, ticks<<62, uint64(period))
	if rest > 0 {
		mul++
	}
	m.mul, m.inverse = mul, math.MaxUint64
	if mul > 1<<62 {
		m.inverse, _ = bits.Div64(1<<62, 0, mul)
	}
	m.full = burst << m.shift
	if m.shift >= 2 {
		m.slack = 1
	}
	return m
}

// refill returns how long an empty bucket takes to fill, in nanoseconds. It
// does not overflow.
func refill(requests int64, period time.Duration, burst int64) float64 {
	return float64(burst) / float64(requests) * float64(period)
}

// ticks returns the reading of the clock, which is never negative, in ticks.
func (m *meter) ticks(since time.Duration) int64 {
	hi, lo := bits.Mul64(uint64(min(max(since, 0), maxUptime)), m.mul)
	return int64(hi<<2 | lo>>62)
}

// duration returns a number of ticks as a time, rounded up: after that time,
// at least so many ticks have passed.
func (m *meter) duration(ticks int64) time.Duration {
	if ticks <= 0 {
		return 0
	}
	ns, rest := bits.Div64(uint64(ticks)>>2, uint64(ticks)<<62, m.mul)
	if rest > 0 && ns < math.MaxInt64 {
		ns++
	}
	return time.Duration(ns)
}

// roughly is duration without a division, up to a nanosecond less.
func (m *meter) roughly(ticks int64) time.Duration {
	if ticks <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(ticks), m.inverse)
	if lo > 0 {
		hi++
	}
	return time.Duration(hi)
}

// charge returns the arrival time of a bucket after a charge at the time now,
// and how long the charge is too early. It is allowed if that is not positive.
func (m *meter) charge(tat, now, cost int64) (after, early int64) {
	after = max(tat, now) + cost
	return after, after - now - m.full - m.slack
}

// reset returns when a bucket will be full.
func (m *meter) reset(tat, now int64) time.Duration { return m.roughly(tat - now - m.slack) }

// remaining returns how many units a bucket still holds.
func (m *meter) remaining(tat, now int64) int64 {
	return max(0, m.full-max(0, tat-now)) >> m.shift
}
