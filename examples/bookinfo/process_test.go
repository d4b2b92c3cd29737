package main

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/fault"
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

// TestProcessTakesLeave: told to stop it says so, answers whoever has asked,
// and ends.
func TestProcessTakesLeave(t *testing.T) {
	p := newProcess(t, "ratings", "v1")
	require.NoError(t, p.order(t.Context(), settings{Grace: time.Minute}))
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	leaves := func() bool {
		resp, err := http.Get("http://" + p.addr + "/ratings/0")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
		report, err := endpoint.ParseLoadReport(resp.Header.Get(endpoint.LoadReportHeader))
		return err == nil && report.Leaving
	}
	require.Eventually(t, leaves, patience, time.Millisecond)
	require.True(t, p.running())

	quick := newProcess(t, "ratings", "v1")
	slow := fault.Policy{Delay: &fault.Delay{Percent: 100, Duration: time.Second}}
	require.NoError(t, quick.order(t.Context(), settings{Grace: time.Millisecond, Fault: &slow}))
	answered := make(chan int, 1)
	go func() {
		resp, err := http.Get("http://" + quick.addr + "/ratings/0")
		if err != nil {
			answered <- 0
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	require.Eventually(t, func() bool {
		n, err := quick.requests(t.Context())
		return err == nil && n == 1
	}, patience, time.Millisecond)
	require.NoError(t, quick.quit(t.Context()))
	require.Equal(t, http.StatusOK, <-answered)
	require.False(t, quick.running())
}

// TestProcessRefusesBadSettings: it says why, and goes on with what it had.
func TestProcessRefusesBadSettings(t *testing.T) {
	p := newProcess(t, "ratings", "v1")
	trouble := failing()
	require.NoError(t, p.order(t.Context(), settings{Fault: &trouble}))
	for _, bad := range []struct {
		settings settings
		want     string
	}{
		{settings{Routes: []tulle.Route{toReviews("nowhere", map[string]uint32{"v9": 1})}}, "reviews"},
		{settings{Fault: &fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 99}}}, "fault: abort.status: 99"},
	} {
		require.ErrorContains(t, p.order(t.Context(), bad.settings), bad.want)
		require.Equal(t, http.StatusServiceUnavailable, status(t, p))
	}
	require.NoError(t, p.order(t.Context(), settings{}))
	require.Equal(t, http.StatusOK, status(t, p))
}

// TestProcessCounts: each request that comes in, the failed ones too.
func TestProcessCounts(t *testing.T) {
	p := newProcess(t, "ratings", "v1")
	for n := range uint64(3) {
		got, err := p.requests(t.Context())
		require.NoError(t, err)
		require.Equal(t, n, got)
		status(t, p)
	}
	trouble := failing()
	require.NoError(t, p.order(t.Context(), settings{Fault: &trouble}))
	require.Equal(t, http.StatusServiceUnavailable, status(t, p))
	got, err := p.requests(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 4, got)
}

// status asks a process of ratings for its answer.
func status(t *testing.T, p *process) int {
	resp, err := http.Get("http://" + p.addr + "/ratings/0")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}
