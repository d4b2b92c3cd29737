package health_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

func TestOutliersDefaults(t *testing.T) {
	want := health.Outliers{
		Consecutive5xx: 5, ConsecutiveGatewayFailure: 5, ConsecutiveLocalOriginFailure: 5,
		SuccessRateMinimumHosts: 2, SuccessRateRequestVolume: 10,
		BaseEjectionTime: 10 * time.Second, MaxEjectionTime: 300 * time.Second, MaxEjectionPercent: 30,
		Ramp: 10 * time.Second,
	}
	require.Equal(t, want, health.Outliers{}.Effective())
	require.Equal(t, want, want.Effective())
	require.NoError(t, want.Validate())
	require.NoError(t, health.Outliers{}.Validate())

	off := health.Outliers{
		Mode: outcome.Observe, Consecutive5xx: -1, ConsecutiveGatewayFailure: -2, ConsecutiveLocalOriginFailure: -3,
		SuccessRateRequestVolume: 1, BaseEjectionTime: time.Hour, MaxEjectionPercent: 100, Ramp: -1,
	}
	require.NoError(t, off.Validate())
	got := off.Effective()
	require.Equal(t, time.Hour, got.MaxEjectionTime, "never shorter than the first ejection")
	off.SuccessRateMinimumHosts, off.MaxEjectionTime = 2, time.Hour
	require.Equal(t, off, got)
}

func TestOutliersReportsEveryFault(t *testing.T) {
	err := health.Outliers{
		Mode: 2, SuccessRateMinimumHosts: 1, SuccessRateRequestVolume: -1, BaseEjectionTime: -1,
		MaxEjectionTime: -1, MaxEjectionPercent: 101,
	}.Validate()
	require.EqualError(t, err, "mode: 2 is neither Enforce nor Observe\n"+
		"successRateMinimumHosts: 1 leaves nobody to compare with\n"+
		"successRateRequestVolume: -1 is negative\n"+
		"baseEjectionTime: -1ns is negative\n"+
		"maxEjectionTime: -1ns is negative\n"+
		"maxEjectionPercent: 101 is not between 1 and 100")

	require.EqualError(t, health.Outliers{MaxEjectionTime: 5 * time.Second}.Validate(),
		"maxEjectionTime: 5s is shorter than baseEjectionTime 10s")
	require.ErrorContains(t, health.Outliers{MaxEjectionPercent: -1}.Validate(), "maxEjectionPercent: -1")
	require.ErrorContains(t, health.Outliers{
		Consecutive5xx: -1, ConsecutiveGatewayFailure: -1, ConsecutiveLocalOriginFailure: -1, SuccessRateMinimumHosts: -1,
	}.Validate(), "all are off")
}

// A share of a few endpoints is less than one, and of one it is the last.
// Peers have got both wrong: a cap that never lets one of fewer than ten go,
// and a single endpoint that goes.
func TestCapWorksForFew(t *testing.T) {
	for percent, want := range map[int]map[int]int{
		0:   {-1: 0, 0: 0, 1: 0, 2: 1, 3: 1, 6: 1, 7: 2, 9: 2, 10: 3, 20: 6, 10_000: 3_000},
		10:  {0: 0, 1: 0, 2: 1, 9: 1, 10: 1, 19: 1, 20: 2},
		100: {0: 0, 1: 0, 2: 1, 3: 2, 10: 9},
		1:   {2: 1, 199: 1, 200: 2},
	} {
		for known, n := range want {
			require.Equal(t, n, health.Outliers{MaxEjectionPercent: percent}.Cap(known), "%d %% of %d", percent, known)
		}
	}
	for known := range 1000 {
		for percent := 1; percent <= 100; percent++ {
			n := health.Outliers{MaxEjectionPercent: percent}.Cap(known)
			if n < min(1, max(0, known-1)) || n > max(0, known-1) || n > max(1, known*percent/100) {
				t.Fatalf("%d %% of %d: %d", percent, known, n)
			}
		}
	}
}

func TestOutliersIsComparable(t *testing.T) {
	a, b := any(health.Outliers{Ramp: 1}), any(health.Outliers{Ramp: 1})
	require.True(t, a == b)
}
