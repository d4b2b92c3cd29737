//go:build !race

package health_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

func TestObserveAndClaimAllocateNothing(t *testing.T) {
	for name, policy := range map[string]health.Outliers{"enforce": {}, "observe": {Mode: outcome.Observe}} {
		f := newFleet(t, 1, 5, policy)
		results := make([]outcome.Result, 16)
		for i := range results {
			results[i].Class = []outcome.Class{success, success, broken, full, neutral, reset, success, success}[i%8]
			results[i].Late, results[i].Was = i == 13, success
		}
		n := testing.AllocsPerRun(5000, func() {
			for i := range results {
				f.now = f.now.Add(time.Millisecond) // sweeps, too
				results[i].At = f.now
				require.False(t, f.rec[0].Observe(results[i], false))
			}
		})
		require.Zero(t, n, name)

		out := newOne(t, policy)
		out.eject()
		until, _ := out.Out()
		n = testing.AllocsPerRun(1000, func() {
			_ = out.Claim(until.Add(-1))
			_ = out.Claim(until)
			_ = out.Claim(until)
			_, _ = out.Out()
			_, _ = out.Accused()
			_ = out.Observe(out.result(neutral, 0), true)
			out.Unclaim(until)
		})
		require.Zero(t, n, name)
	}
}
