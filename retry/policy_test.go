package retry_test

import (
	"encoding/json"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

func TestEffective(t *testing.T) {
	require.Equal(t, retry.Policy{
		Attempts:      2,
		Statuses:      []int{502, 503, 504},
		On:            []outcome.Class{outcome.Connect, outcome.Reset, outcome.Timeout},
		Backoff:       retry.Backoff{Base: 25 * time.Millisecond, Max: 250 * time.Millisecond},
		MaxRetryAfter: time.Second,
		BufferBody:    64 << 10,
		Budget:        retry.BudgetPolicy{Ratio: 0.2, MinPerSecond: 10},
	}, retry.Policy{}.Effective())

	set := retry.Policy{
		Mode: outcome.Observe, Attempts: 3, PerTry: time.Second, Statuses: []int{}, On: []outcome.Class{},
		Idempotent: true, Backoff: retry.Backoff{Base: time.Second, Max: time.Minute}, MaxRetryAfter: -1,
		BufferBody: -1, Budget: retry.BudgetPolicy{Ratio: -1, MinPerSecond: -1},
	}
	require.Equal(t, set, set.Effective(), "what is set stays")
	require.Equal(t, set, set.Effective().Effective())

	require.Equal(t, time.Minute, retry.Policy{Backoff: retry.Backoff{Base: time.Minute}}.Effective().Backoff.Max)
	require.Equal(t, time.Millisecond, retry.Policy{Backoff: retry.Backoff{Max: time.Millisecond}}.Effective().Backoff.Base)

	statuses := []int{500}
	p := retry.Policy{Statuses: statuses}.Effective()
	statuses[0] = 200
	require.Equal(t, []int{500}, p.Statuses, "nothing is shared")

	_, err := json.Marshal(retry.Policy{CheckRetry: always, Backoff: retry.Backoff{Func: constant(0)}})
	require.NoError(t, err, "a policy can be shown")
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	_, err := retry.New(retry.Options{
		Timeout: -1,
		Policy: &retry.Policy{
			Mode: 7, Attempts: 11, PerTry: -1, Statuses: []int{503, 100, 600},
			On:      []outcome.Class{outcome.Reset, outcome.Success, outcome.Neutral, 99},
			Backoff: retry.Backoff{Base: -1, Max: -1}, BufferBody: 1 << 40,
			Budget: retry.BudgetPolicy{Ratio: math.NaN(), MinPerSecond: math.MaxInt},
		},
	})
	require.EqualError(t, err, `timeout: -1ns is negative
mode: 7 is neither Enforce nor Observe
attempts: 11 is not between 0 and 10
perTry: -1ns is negative
statuses[1]: 100 is not between 200 and 599
statuses[2]: 600 is not between 200 and 599
on[1]: success is not a class to retry on
on[2]: neutral is not a class to retry on
on[3]: unknown is not a class to retry on
bufferBody: 1099511627776 exceeds the limit of 16777216
backoff.base: -1ns is negative
backoff.max: -1ns is negative
budget.ratio: NaN is not at most 1
budget.minPerSecond: 9223372036854775807 exceeds the limit of 1000000`)

	for want, o := range map[string]retry.Options{
		"attempts: -1 is not between 0 and 10":               {Policy: &retry.Policy{Attempts: -1}},
		"perTry: 2s exceeds timeout 1s":                      {Timeout: time.Second, Policy: &retry.Policy{PerTry: 2 * time.Second}},
		"backoff.base: 2s exceeds the maximum of 1s":         {Policy: &retry.Policy{Backoff: retry.Backoff{Base: 2 * time.Second, Max: time.Second}}},
		"budget.ratio: 1.5 is not at most 1":                 {Policy: &retry.Policy{Budget: retry.BudgetPolicy{Ratio: 1.5}}},
		"statuses[0]: 101 is not between 200 and 599":        {Policy: &retry.Policy{Statuses: []int{http.StatusSwitchingProtocols}}},
		"bufferBody: 16777217 exceeds the limit of 16777216": {Policy: &retry.Policy{BufferBody: 16<<20 + 1}},
	} {
		_, err := retry.New(o)
		require.EqualError(t, err, want)
	}
	for _, o := range []retry.Options{
		{}, {Policy: &retry.Policy{}}, {Timeout: time.Second, Policy: &retry.Policy{PerTry: time.Second, Attempts: 10, BufferBody: 16 << 20}},
	} {
		_, err := retry.New(o)
		require.NoError(t, err)
	}
}

func TestNewKeepsNothingOfThePolicy(t *testing.T) {
	p := retry.Policy{Statuses: []int{409}}
	loop := newLoop(t, retry.Options{Policy: &p})
	p.Statuses[0], p.Attempts = 200, 1
	tr := &tryer{t: t, results: []result{{status: 409}, {status: 200}}}
	_, err := loop.Do(t.Context(), newRequest(t, "GET", nil), tr)
	require.NoError(t, err)
	require.Equal(t, 2, tr.calls())
}
