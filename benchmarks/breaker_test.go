package benchmarks

import (
	"errors"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
)

// circuit is a breaker: a turn is a call that succeeds. It also says how many
// it has counted, and can be told of a call that fails.
type circuit struct {
	sort, name string
	start      func(testing.TB) (t turn, counted func() int, fail func())
}

func BenchmarkBreaker(b *testing.B) {
	var parts []part
	for _, c := range circuits() {
		parts = append(parts, part{c.sort, c.name, func(tb testing.TB, _ int) asked {
			t, _, _ := c.start(tb)
			return alone(t)
		}})
	}
	benchmarkParts(b, parts, partCase{name: "serial"},
		partCase{name: "parallel", goroutines: 1}, partCase{name: "parallel_x64", goroutines: 64})
}

// Each breaker counts its calls, and refuses them after twenty failures.
func TestBreakers(t *testing.T) {
	for _, c := range circuits() {
		t.Run(c.sort+"/"+c.name, func(t *testing.T) {
			call, counted, fail := c.start(t)
			for i := range 5 {
				_, err := call(i)
				require.NoError(t, err)
			}
			require.Equal(t, 5, counted())
			for range 20 {
				fail()
			}
			_, err := call(0)
			require.Error(t, err)
		})
	}
}

const (
	breakRate  = .5
	breakCalls = 20
	breakTime  = 10 * time.Second
)

var errFailed = errors.New("failed")

// circuits open when half of at least 20 calls within 10 s have failed. They
// look at the clock by themselves; Tulle's is told the time by its caller, who
// looks twice, or as in a mesh knows it anyway.
func circuits() []circuit {
	told := time.Now()
	return []circuit{
		{"permit_and_result", "tulle", oursWith(time.Now)},
		{"permit_and_result", "tulle,_told_the_time", oursWith(func() time.Time { return told })},
		{"permit_and_result", "failsafe", func(testing.TB) (turn, func() int, func()) {
			b := failsafeBreaker()
			return func(int) (string, error) {
					if !b.TryAcquirePermit() {
						return "", circuitbreaker.ErrOpen
					}
					b.RecordSuccess()
					return "", nil
				}, func() int { return int(b.Metrics().Successes()) }, func() {
					if b.TryAcquirePermit() {
						b.RecordFailure()
					}
				}
		}},
		{"permit_and_result", "gobreaker", func(testing.TB) (turn, func() int, func()) {
			b := gobreaker.NewTwoStepCircuitBreaker[any](gobreakerSettings())
			result := func(result error) error {
				done, err := b.Allow()
				if err == nil {
					done(result)
				}
				return err
			}
			return func(int) (string, error) { return "", result(nil) },
				func() int { return int(b.Counts().TotalSuccesses) }, func() { _ = result(errFailed) }
		}},
		{"around_a_function", "failsafe_executor", func(testing.TB) (turn, func() int, func()) {
			b := failsafeBreaker()
			e := failsafe.With[any](b)
			call, failing := func() error { return nil }, func() error { return errFailed }
			return func(int) (string, error) { return "", e.Run(call) },
				func() int { return int(b.Metrics().Successes()) }, func() { _ = e.Run(failing) }
		}},
		{"around_a_function", "gobreaker", func(testing.TB) (turn, func() int, func()) {
			b := gobreaker.NewCircuitBreaker[any](gobreakerSettings())
			call, failing := func() (any, error) { return nil, nil }, func() (any, error) { return nil, errFailed }
			return func(int) (string, error) { _, err := b.Execute(call); return "", err },
				func() int { return int(b.Counts().TotalSuccesses) }, func() { _, _ = b.Execute(failing) }
		}},
	}
}

// oursWith is Tulle's breaker, with what its caller has for a clock.
func oursWith(clock func() time.Time) func(testing.TB) (turn, func() int, func()) {
	return func(tb testing.TB) (turn, func() int, func()) {
		b, err := breaker.New(breaker.Policy{FailureRate: breakRate, MinCalls: breakCalls, Window: breakTime}, breaker.Options{})
		require.NoError(tb, err)
		result := func(class outcome.Class) error {
			permit, err := b.Allow(clock())
			if err != nil {
				return err
			}
			permit.Done(outcome.Result{Outcome: outcome.Outcome{Class: class}, At: clock()})
			return nil
		}
		return func(int) (string, error) { return "", result(outcome.Success) },
			func() int { return b.Stats().Calls },
			func() { _ = result(outcome.ServerError) }
	}
}

func failsafeBreaker() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(breakRate, breakCalls, breakTime).Build()
}

// gobreakerSettings have a window of ten seconds that moves on by one.
func gobreakerSettings() gobreaker.Settings {
	return gobreaker.Settings{
		Interval: breakTime, BucketPeriod: breakTime / 10,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.Requests >= breakCalls && float64(c.TotalFailures) >= breakRate*float64(c.Requests)
		},
	}
}
