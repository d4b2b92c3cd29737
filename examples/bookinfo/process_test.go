package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
)

// TestProcessEndsWithItsInput: the pipe is what the parent's end closes, on
// every system and whatever ends the parent.
func TestProcessEndsWithItsInput(t *testing.T) {
	p := newProcess(t, "ratings", "v1")
	require.True(t, p.running())
	p.leave()
	<-p.ended
	require.NoError(t, p.err)
}

func TestProcessThatCannotListen(t *testing.T) {
	p := newProcess(t, "ratings", "v1")
	again := &process{service: "ratings", version: "v1", addr: p.addr}
	require.ErrorContains(t, again.start(t.Context()), p.addr)
	require.False(t, again.running())

	stranger := &process{service: "nonesuch", addr: "127.0.0.1:0"}
	require.ErrorContains(t, stranger.start(t.Context()), `there is no service "nonesuch"`)
}

// TestProcessRefusesBadSettings: it says why, and goes on with what it had.
func TestProcessRefusesBadSettings(t *testing.T) {
	p := newProcess(t, "ratings", "v1")
	require.NoError(t, p.order(t.Context(), settings{Failing: true}))
	bad := settings{Routes: []tulle.Route{toReviews("nowhere", map[string]uint32{"v9": 1})}}
	require.ErrorContains(t, p.order(t.Context(), bad), "reviews")
	require.NoError(t, p.order(t.Context(), settings{Failing: true}))

	resp, err := http.Get("http://" + p.addr + "/ratings/0")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
}
