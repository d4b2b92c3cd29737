package breaker_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/breaker"
)

func TestEveryFaultIsReported(t *testing.T) {
	err := breaker.Policy{
		Mode: 7, FailureRate: 1.5, MinCalls: -1, Window: time.Millisecond, Consecutive: -2, SlowCall: -3, SlowRate: math.NaN(),
		OpenFor: 2 * time.Hour, HalfOpenCalls: 1001, HalfOpenFor: -4,
	}.Validate()
	for _, want := range []string{
		"mode: 7", "failureRate: 1.5", "minCalls: -1", "window: 1ms", "consecutive: -2", "slowCall: -3ns", "slowRate: NaN",
		"openFor: 2h", "halfOpenCalls: 1001", "halfOpenFor: -4ns",
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.ErrorContains(t, breaker.Policy{FailureRate: math.NaN()}.Validate(), "failureRate: NaN")
	assert.ErrorContains(t, breaker.Policy{FailureRate: -1}.Validate(), "no other trigger")
	assert.ErrorContains(t, breaker.Policy{SlowRate: .5}.Validate(), "slowRate: needs slowCall")
	assert.NoError(t, breaker.Policy{FailureRate: -1, Consecutive: 5}.Validate())
	_, err = breaker.New(breaker.Policy{FailureRate: 2}, breaker.Options{})
	assert.Error(t, err)

	err = breaker.Limit{Mode: 7, InFlight: -1, Waiting: math.MaxInt32 + 1, MaxWait: -1}.Validate()
	for _, want := range []string{"mode: 7", "inFlight: -1", "waiting: 2147483648", "maxWait: -1ns"} {
		assert.ErrorContains(t, err, want)
	}
	assert.ErrorContains(t, breaker.Limit{MaxWait: time.Second}.Validate(), "maxWait: needs waiting")
	_, err = breaker.NewLimiter(breaker.Limit{InFlight: -1})
	assert.Error(t, err)
}

func TestDefaults(t *testing.T) {
	assert.Equal(t, breaker.Policy{
		FailureRate: .5, MinCalls: 20, Window: 10 * time.Second, OpenFor: 5 * time.Second, HalfOpenCalls: 3, HalfOpenFor: 10 * time.Second,
	}, breaker.Policy{}.Effective())
	assert.Equal(t, .8, breaker.Policy{SlowCall: time.Second}.Effective().SlowRate)
	assert.Equal(t, breaker.Limit{InFlight: 1024}, breaker.Limit{}.Effective())
	text, err := json.Marshal(breaker.Policy{})
	require.NoError(t, err)
	assert.Equal(t, "{}", string(text))
}
