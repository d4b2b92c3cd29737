package main

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCalls: the same seed gives the same calls, of the number, the work and
// the callers that were asked for.
func TestCalls(t *testing.T) {
	l := load{servers: 8, callers: 20, rate: 500, length: time.Minute, seed: 7}
	calls := l.calls()
	require.Equal(t, calls, l.calls())
	require.InEpsilon(t, 30_000, len(calls), 0.03)
	require.True(t, slices.IsSortedFunc(calls, func(a, b call) int { return int(a.at - b.at) }))
	var work time.Duration
	by := make([]int, l.callers)
	for _, c := range calls {
		require.Less(t, c.at, l.length)
		work += c.work
		by[c.caller]++
	}
	require.InEpsilon(t, meanWork, work/time.Duration(len(calls)), 0.03)
	for _, n := range by {
		require.InEpsilon(t, len(calls)/l.callers, n, 0.15)
	}
	l.seed = 8
	require.NotEqual(t, calls, l.calls())
}

// TestTroubles: each hits another server, within the time that calls go on.
func TestTroubles(t *testing.T) {
	l := load{servers: 4, length: 20 * time.Second}
	hit := map[int]bool{}
	for _, trouble := range l.troubles() {
		require.False(t, hit[trouble.server])
		hit[trouble.server] = true
		require.Less(t, trouble.server, l.servers)
		require.Less(t, trouble.from, trouble.to)
		require.Less(t, trouble.to, l.length)
	}
	require.False(t, hit[0], "one is well all the time")
	require.NotEmpty(t, hit)
}
