package main

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWorker: an answer takes the time that was asked for, longer from one
// that is slow, and none from one that fails.
func TestWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct {
			order
			query  string
			status int
			took   time.Duration
		}{
			{order{}, "work=40ms", http.StatusOK, 40 * time.Millisecond},
			{order{Slow: 3}, "work=40ms", http.StatusOK, 120 * time.Millisecond},
			{order{Fail: true}, "work=40ms", http.StatusInternalServerError, 0},
			{order{}, "work=much", http.StatusBadRequest, 0},
		} {
			var now atomic.Pointer[order]
			now.Store(&row.order)
			w, begin := httptest.NewRecorder(), time.Now()
			worker(&now).ServeHTTP(w, httptest.NewRequest("GET", "/?"+row.query, nil))
			require.Equal(t, row.status, w.Code)
			require.Equal(t, row.took, time.Since(begin))
		}
	})
}

// TestProcess: a server answers, says how busy it is, does what it is told,
// and ends when it is left, paused or not.
func TestProcess(t *testing.T) {
	f, err := startFleet(t.Context(), 2)
	require.NoError(t, err)
	defer f.stop()
	get := func() *http.Response {
		resp, err := http.Get("http://" + f[0].addr + "/?work=1ms")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp
	}
	resp := get()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, resp.Header.Get("Endpoint-Load-Metrics"), "lim=4")
	require.NoError(t, f[0].order(order{Fail: true}))
	for get().StatusCode == http.StatusOK {
		// The order is on its way.
	}
	if canPause {
		require.NoError(t, f[1].pause())
	}
	f.stop()
	for _, p := range f {
		require.NotNil(t, p.cmd.ProcessState, "not waited for")
	}
}
