package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestResult: who failed at once makes nothing fast, who expired makes it slow.
func TestResult(t *testing.T) {
	troubles := []trouble{
		{server: 1, name: "slow", from: 1 * time.Second, to: 3 * time.Second},
		{server: 0, name: "stopped", from: 8 * time.Second, to: 9 * time.Second},
	}
	calls := []call{{at: 0}, {at: 1 * time.Second}, {at: 2 * time.Second}, {at: 2500 * time.Millisecond}, {at: 3 * time.Second}}
	outcomes := []outcome{
		{took: 30 * time.Millisecond, server: "b"},
		{took: 10 * time.Millisecond, server: "b", late: time.Millisecond},
		{took: time.Millisecond, server: "a", kind: failed},
		{took: patience, kind: expired},
		{took: 20 * time.Millisecond, server: "b"},
	}
	r := newResult(policy{name: "any"}, calls, outcomes, []string{"a", "b"}, troubles)
	require.Equal(t, []time.Duration{10e6, 20e6, 30e6, patience}, r.took)
	require.Equal(t, 1, r.failed)
	require.Equal(t, 1, r.expired)
	require.InDelta(t, 0.4, r.unanswered(), 1e-9)
	require.Equal(t, time.Millisecond, r.late)
	require.InDeltaSlice(t, []float64{1. / 3, 0}, r.shares, 1e-9)
	require.Equal(t, 20*time.Millisecond, r.quantile(.5))
	require.Equal(t, 30*time.Millisecond, r.quantile(.51))
	require.Equal(t, patience, r.quantile(.999))
	require.Zero(t, new(result).quantile(.5))

	r.picks, r.sentBack = map[string]uint64{"token": 90, "explore": 10, "old": 0}, 1
	var out bytes.Buffer
	table(&out, []result{r}, troubles)
	for _, want := range []string{"any", "3 s", "20.0 %", "33.3 %", "to slow", "to stopped", "90.0 % token, 10.0 % explore\n", "expected: 20.0 % of the calls\n", "began 1 ms after"} {
		require.Contains(t, out.String(), want)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 500 * time.Microsecond: "0.5 ms", 1234 * time.Microsecond: "1.23 ms", 45678 * time.Microsecond: "46 ms",
		100 * time.Millisecond: "100 ms", 627400 * time.Microsecond: "627 ms", 3 * time.Second: "3 s",
		2074 * time.Millisecond: "2.07 s", time.Minute: "60 s", 1000 * time.Second: "1000 s",
	} {
		require.Equal(t, want, short(d))
	}
}
