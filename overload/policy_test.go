package overload_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/overload"
)

func TestDefaults(t *testing.T) {
	assert.Equal(t, overload.Policy{
		Adaptive: overload.Adaptive{Min: 5, Max: 1000, Initial: 20}, Waiting: 1000, MaxWait: 100 * time.Millisecond,
	}, overload.Policy{}.Effective())
	assert.Equal(t, overload.Policy{MaxInFlight: 7, Waiting: 1000, MaxWait: 100 * time.Millisecond}, overload.Policy{MaxInFlight: 7}.Effective())
	assert.Equal(t, overload.Policy{MaxInFlight: 7, Waiting: -1}, overload.Policy{MaxInFlight: 7, Waiting: -1}.Effective())
	for in, want := range map[overload.Adaptive]overload.Adaptive{
		{Max: 3}:                 {Min: 3, Max: 3, Initial: 3},
		{Min: 50}:                {Min: 50, Max: 1000, Initial: 50},
		{Min: 2000}:              {Min: 2000, Max: 2000, Initial: 2000},
		{Initial: 2}:             {Min: 2, Max: 1000, Initial: 2},
		{Initial: 5000}:          {Min: 5, Max: 5000, Initial: 5000},
		{Min: 1, Max: 10}:        {Min: 1, Max: 10, Initial: 10},
		{1, 10, 5}:               {1, 10, 5},
		{Min: 30, Max: 40}:       {Min: 30, Max: 40, Initial: 30},
		{Initial: 500, Max: 500}: {Min: 5, Max: 500, Initial: 500},
	} {
		p := overload.Policy{Adaptive: in}
		require.NoError(t, p.Validate())
		assert.Equal(t, want, p.Effective().Adaptive)
		require.NoError(t, p.Effective().Validate())
		g := newGuard(t, p)
		assert.Equal(t, want.Initial, g.Stats().Limit)
	}
}

func TestEveryFaultIsReported(t *testing.T) {
	for _, row := range []struct {
		policy overload.Policy
		want   []string
	}{
		{overload.Policy{
			Mode: 7, MaxInFlight: -1, Adaptive: overload.Adaptive{Min: -2, Max: -3, Initial: math.MaxInt}, MaxWait: -1, Waiting: math.MaxInt,
			Exempt: []match.Request{{}, {Path: match.Path{Regex: "("}}},
		}, []string{
			"mode: 7", "maxInFlight: -1", "adaptive.min: -2", "adaptive.max: -3", "adaptive.initial: 9", "adaptive: excludes", "maxWait: -1ns",
			"waiting: 9", "exempt[1].path.regex",
		}},
		{overload.Policy{Adaptive: overload.Adaptive{Min: 10, Max: 5}}, []string{"adaptive.min: 10 is above max 5"}},
		{overload.Policy{Adaptive: overload.Adaptive{Max: 5, Initial: 10}}, []string{"adaptive.initial: 10 is above max 5"}},
		{overload.Policy{Adaptive: overload.Adaptive{Min: 10, Initial: 5}}, []string{"adaptive.initial: 5 is below min 10"}},
		{overload.Policy{MaxWait: time.Hour}, []string{"maxWait: 1h0m0s"}},
		{overload.Policy{Waiting: -1, MaxWait: time.Second}, []string{"maxWait: needs waiting"}},
	} {
		err := row.policy.Validate()
		for _, want := range row.want {
			assert.ErrorContains(t, err, want)
		}
		_, err = overload.New(row.policy, overload.Options{})
		assert.Error(t, err)
	}
}

// What a caller does to its Policy after New changes nothing.
func TestPolicyIsCopied(t *testing.T) {
	p := overload.Policy{Exempt: []match.Request{{Methods: []string{"GET"}}}}
	e := p.Effective()
	e.Exempt[0].Methods = nil
	assert.Equal(t, []string{"GET"}, p.Exempt[0].Methods)
}
