package breaker_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
)

func TestRateNeedsVolumeInTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{}, breaker.Options{})
		calls(b, 19, outcome.Timeout)
		assert.Equal(t, breaker.Closed, b.State(), "19 calls")
		time.Sleep(11 * time.Second)
		assert.Zero(t, b.Stats().Calls)
		calls(b, 19, outcome.Timeout)
		assert.Equal(t, breaker.Closed, b.State(), "19 calls in the window")
		call(b, outcome.Success)
		assert.Equal(t, breaker.Open, b.State(), "a success makes up the volume")
		assert.Equal(t, "19 of 20 calls in 10s failed", b.Stats().LastCause)
		assert.Equal(t, 19, b.Stats().Failures)
	})
}

// The rate is exact at every volume, with results amended or not.
func TestRateIsExact(t *testing.T) {
	for _, amended := range []bool{false, true} {
		for total := 20; total <= 400; total += 19 {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(t, breaker.Policy{FailureRate: .3}, breaker.Options{})
				failures := 0
				for range total {
					call(b, outcome.Success)
				}
				for n := total; b.State() == breaker.Closed; {
					if !amended {
						n++
						call(b, outcome.Reset)
					} else {
						p, err := b.Allow(time.Now())
						require.NoError(t, err)
						n++
						p.Done(result(outcome.Success))
						if b.State() == breaker.Closed {
							p.Done(late(outcome.Reset))
						}
					}
					failures++
					wantOpen := float64(failures)/float64(n) >= .3
					require.Equal(t, wantOpen, b.State() == breaker.Open, "amended %v: %d of %d", amended, failures, n)
				}
			})
		}
	}
}

// A service whose calls all fail late has a failure rate of 1, with the right
// volume, in whatever order the results come.
func TestLateFailuresCountOnce(t *testing.T) {
	for _, atOnce := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Policy{FailureRate: 1}, breaker.Options{})
			var permits []breaker.Permit
			for range 20 {
				p, err := b.Allow(time.Now())
				require.NoError(t, err)
				p.Done(result(outcome.Success))
				if permits = append(permits, p); !atOnce {
					p.Done(late(outcome.Reset))
				}
			}
			for i, p := range permits {
				if atOnce {
					assert.Equal(t, breaker.Closed, b.State(), i)
					p.Done(late(outcome.Reset))
				}
			}
			assert.Equal(t, breaker.Open, b.State(), "all at once: %v", atOnce)
			assert.Equal(t, 20, b.Stats().Calls)
			assert.Equal(t, 20, b.Stats().Failures)
		})
	}
}

// A call that said nothing at its headers and failed at its end is one more,
// and takes no other one's place: neither in the window, nor in a run, nor
// among those that Observe let through.
func TestALateFailureOfWhatSaidNothing(t *testing.T) {
	for _, first := range []outcome.Class{outcome.Overload, outcome.Neutral} {
		synctest.Test(t, func(t *testing.T) {
			b := newBreaker(t, breaker.Policy{Mode: outcome.Observe, Consecutive: 3, FailureRate: -1}, breaker.Options{})
			broken := func() {
				p, err := b.Allow(time.Now())
				require.NoError(t, err)
				p.Done(result(first))
				r := late(outcome.Reset)
				r.Was = first
				p.Done(r)
			}
			calls(b, 10, outcome.Success)
			broken()
			require.Equal(t, 11, b.Stats().Calls, first)
			require.Equal(t, 1, b.Stats().Failures, first)
			calls(b, 1, outcome.Connect)
			call(b, outcome.Success)
			for range 2 {
				broken()
			}
			require.Equal(t, breaker.Closed, b.State(), "a success has ended the run")
			broken()
			require.Equal(t, breaker.Open, b.State(), first)
			calls(b, 2, outcome.Success)
			broken()
			require.EqualValues(t, 3, b.Stats().WouldRefuse)
			require.EqualValues(t, 2, b.Stats().WouldRefuseSucceeded, first)
		})
	}
}

func TestAmendmentsLeaveTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{FailureRate: 1}, breaker.Options{})
		for range 10 {
			p, err := b.Allow(time.Now())
			require.NoError(t, err)
			p.Done(result(outcome.Success))
			p.Done(late(outcome.Reset))
		}
		time.Sleep(11 * time.Second)
		calls(b, 15, outcome.Success)
		assert.Equal(t, 15, b.Stats().Calls)
		assert.Zero(t, b.Stats().Failures)
	})
}

func TestConsecutive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{FailureRate: -1, Consecutive: 5}, breaker.Options{})
		for range 10 {
			calls(b, 4, outcome.Connect)
			calls(b, 3, outcome.Neutral)
			call(b, outcome.Success)
		}
		assert.Equal(t, breaker.Closed, b.State())
		calls(b, 4, outcome.Connect)
		time.Sleep(time.Hour)
		call(b, outcome.Overload)
		call(b, outcome.Gateway)
		assert.Equal(t, breaker.Open, b.State(), "however long it takes")
		assert.Equal(t, "5 failures in a row", b.Stats().LastCause)

		off := newBreaker(t, breaker.Policy{FailureRate: -1, SlowCall: time.Hour}, breaker.Options{})
		calls(off, 1000, outcome.Connect)
		assert.Equal(t, breaker.Closed, off.State(), "negative control")
	})
}

func TestConsecutiveLateFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{FailureRate: -1, Consecutive: 3}, breaker.Options{})
		for i := range 3 {
			assert.Equal(t, breaker.Closed, b.State(), i)
			p, err := b.Allow(time.Now())
			require.NoError(t, err)
			p.Done(result(outcome.Success))
			p.Done(late(outcome.Reset))
		}
		assert.Equal(t, breaker.Open, b.State())
	})
}

func TestSlowCalls(t *testing.T) {
	slow := func(latency time.Duration, cut bool, c outcome.Class) outcome.Result {
		r := result(c)
		r.Latency, r.Cut = latency, cut
		return r
	}
	for name, row := range map[string]struct {
		policy breaker.Policy
		last   outcome.Result
		opens  bool
	}{
		"slow":            {breaker.Policy{SlowCall: time.Second}, slow(time.Second, false, outcome.Success), true},
		"fast":            {breaker.Policy{SlowCall: time.Second}, slow(time.Second-1, false, outcome.Success), false},
		"off":             {breaker.Policy{}, slow(time.Second, false, outcome.Success), false},
		"cut off late":    {breaker.Policy{SlowCall: time.Second}, slow(time.Second, true, outcome.Timeout), true},
		"cut off early":   {breaker.Policy{SlowCall: time.Second}, slow(time.Second-1, true, outcome.Timeout), false},
		"slow failure":    {breaker.Policy{SlowCall: time.Second}, slow(time.Second, false, outcome.ServerError), true},
		"cancelled late":  {breaker.Policy{SlowCall: time.Second}, slow(time.Hour, true, outcome.Neutral), false},
		"rate of its own": {breaker.Policy{SlowCall: time.Second, SlowRate: .9}, slow(time.Second, false, outcome.Success), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBreaker(t, row.policy, breaker.Options{})
				end := func(r outcome.Result) {
					p, err := b.Allow(time.Now())
					require.NoError(t, err)
					p.Done(r)
				}
				for i := range 19 {
					latency := time.Second
					if i < 4 {
						latency = 0
					}
					end(slow(latency, false, outcome.Success))
				}
				require.Equal(t, breaker.Closed, b.State())
				end(row.last)
				require.Equal(t, row.opens, b.State() == breaker.Open, b.Stats())
				if row.opens {
					assert.Equal(t, "16 of 20 calls in 10s took 1s or longer", b.Stats().LastCause)
					assert.Equal(t, 16, b.Stats().Slow)
					time.Sleep(b.RetryAfter(time.Now()))
					end(slow(2*time.Second, false, outcome.Success))
					assert.Equal(t, breaker.Open, b.State(), "a slow trial fails")
					assert.Equal(t, "a trial took 2s", b.Stats().LastCause)
				}
			})
		})
	}
}

func TestATrialThatFailsOpensAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{}, breaker.Options{})
		tripAndWait(t, b)
		first, err := b.Allow(time.Now())
		require.NoError(t, err)
		first.Done(result(outcome.Success))
		second, err := b.Allow(time.Now())
		require.NoError(t, err)
		assert.Equal(t, breaker.HalfOpen, b.State())
		first.Done(late(outcome.Reset))
		assert.Equal(t, breaker.Open, b.State(), "also late")
		assert.Equal(t, "a trial failed: reset", b.Stats().LastCause)
		second.Done(result(outcome.Success))
		time.Sleep(openTime)
		calls(b, 2, outcome.Success)
		second.Done(result(outcome.Success))
		second.Release()
		assert.Equal(t, breaker.HalfOpen, b.State(), "a trial of before")
		call(b, outcome.Success)
		assert.Equal(t, breaker.Closed, b.State())
		assert.Equal(t, 1, b.Stats().Reopened)
		assert.EqualValues(t, 1, b.Stats().Opened)
	})
}

func TestObserveRefusesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{Mode: outcome.Observe}, breaker.Options{})
		trip(t, b)
		for i := range 10 {
			assert.True(t, call(b, []outcome.Class{outcome.Success, outcome.Reset}[i%2]))
		}
		p, err := b.Allow(time.Now())
		require.NoError(t, err)
		p.Done(result(outcome.Success))
		p.Done(late(outcome.Reset))
		assert.Equal(t, breaker.Open, b.State(), "what would have been refused decides nothing")
		s := b.Stats()
		assert.EqualValues(t, 11, s.WouldRefuse)
		assert.EqualValues(t, 5, s.WouldRefuseSucceeded)
		assert.Zero(t, s.Refused)

		time.Sleep(openTime)
		var permits []breaker.Permit
		for i := range 5 {
			p, err := b.Allow(time.Now())
			require.NoError(t, err)
			assert.Equal(t, i < 3, p.Trial(), "the first are the trials")
			permits = append(permits, p)
		}
		permits[4].Done(result(outcome.Reset))
		assert.Equal(t, breaker.HalfOpen, b.State())
		for _, p := range permits[:3] {
			p.Done(result(outcome.Success))
		}
		assert.Equal(t, breaker.Closed, b.State())
		assert.EqualValues(t, 13, b.Stats().WouldRefuse)
	})
}

func TestErrorSaysWhoseBreakerItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{HalfOpenCalls: 1}, breaker.Options{Service: "reviews", Endpoint: "10.0.0.1:80", Draw: func() uint64 { return 0 }})
		trip(t, b)
		_, err := b.Allow(time.Now())
		refused, ok := errors.AsType[*breaker.OpenError](err)
		require.True(t, ok)
		assert.Equal(t, "circuit breaker of reviews for 10.0.0.1:80 is open for another "+refused.RetryAfter.Round(time.Millisecond).String(), err.Error())
		time.Sleep(refused.RetryAfter)
		_, err = b.Allow(time.Now())
		require.NoError(t, err)
		_, err = b.Allow(time.Now())
		assert.EqualError(t, err, "circuit breaker of reviews for 10.0.0.1:80 is half-open, and its trials are under way")
		assert.EqualValues(t, 2, b.Stats().Refused)
	})
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []breaker.Event
		b := newBreaker(t, breaker.Policy{SlowCall: time.Second}, breaker.Options{OnEvent: func(e breaker.Event) { events = append(events, e) }})
		before, err := b.Allow(time.Now())
		require.NoError(t, err)
		calls(b, 19, outcome.Reset)
		b.Reset()
		before.Done(result(outcome.Reset))
		assert.Equal(t, breaker.Closed, b.State())
		assert.Zero(t, b.Stats().Calls, "all is forgotten")
		assert.Empty(t, events)

		trip(t, b)
		b.Reset()
		assert.Equal(t, breaker.Closed, b.State())
		require.Len(t, events, 2)
		assert.Equal(t, "reset", events[1].Cause)
		tripAndWait(t, b)
		p, err := b.Allow(time.Now())
		require.NoError(t, err)
		b.Reset()
		p.Done(result(outcome.Reset))
		assert.Equal(t, breaker.Closed, b.State())
		assert.Zero(t, b.Stats().Calls)
	})
}

func TestZeroPermit(t *testing.T) {
	var p breaker.Permit
	p.Done(result(outcome.Reset))
	p.Release()
	assert.False(t, p.Trial())
}

func TestStateText(t *testing.T) {
	for s, want := range map[breaker.State]string{breaker.Closed: "closed", breaker.Open: "open", breaker.HalfOpen: "half_open"} {
		text, err := s.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
		var got breaker.State
		require.NoError(t, got.UnmarshalText(text))
		assert.Equal(t, s, got)
	}
	assert.Equal(t, "unknown", breaker.State(9).String())
	assert.Error(t, new(breaker.State).UnmarshalText([]byte("ajar")))
}
