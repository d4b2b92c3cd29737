//go:build unix

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
)

// TestFreeze: a frozen process accepts connections and says nothing, and goes
// on afterwards as if nothing had been.
func TestFreeze(t *testing.T) {
	f := newFleet(t)
	v3 := toReviews("all", map[string]uint32{"v3": 1})
	v3.Policies.Timeout = 300 * time.Millisecond
	require.NoError(t, f.apply(t.Context(), rules{routes: []tulle.Route{v3}}))
	end, err := f.freeze(f.version("reviews", "v3"))
	require.NoError(t, err)
	var p page
	// Where the machine is busy the time may be over before there is an attempt.
	for range 10 {
		p, err = f.look(t.Context(), "")
		require.NoError(t, err)
		require.Equal(t, "no reviews", versionOfReviews(p))
		if p.Review.Attempts > 0 {
			break
		}
	}
	require.Equal(t, 1, p.Review.Attempts)
	require.NoError(t, end(t.Context()))
	v3.Policies.Timeout = time.Minute
	require.NoError(t, f.apply(t.Context(), rules{routes: []tulle.Route{v3}}))
	p, err = f.look(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, "v3", versionOfReviews(p))
}
