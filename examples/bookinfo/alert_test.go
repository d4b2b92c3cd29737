package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
)

func newInbox(t *testing.T) *inbox {
	in, err := openInbox()
	require.NoError(t, err)
	t.Cleanup(in.close)
	return in
}

// TestAlertsArrive: what a process reports is what the inbox has, in order.
func TestAlertsArrive(t *testing.T) {
	in := newInbox(t)
	from := served{Service: "reviews", Version: "v3", PID: 4711, Zone: "a"}
	at := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	open := breaker.Event{
		Service: "ratings", Open: true, At: at, Since: at, HalfOpenAt: at.Add(1500 * time.Millisecond),
		Cause: "2 failures in a row", Calls: 3, Failures: 2, Last: []breaker.Sample{
			{At: at, Class: outcome.Success, Status: 200}, {At: at, Class: outcome.Gateway, Status: 503}, {At: at, Class: outcome.Connect},
		},
	}
	closing := breaker.Event{
		Service: "ratings", At: at.Add(2 * time.Second), Since: at, Cause: "3 trials succeeded", Calls: 3, Failures: 2,
		Reopened: 1, Refused: 7, Duration: 2 * time.Second,
	}
	tell := report(from, in.url)
	tell(open)
	tell(closing)
	got, err := in.await(t.Context(), 0, 2)
	require.NoError(t, err)
	require.Equal(t, []alert{{from, open}, {from, closing}}, got)
	require.Equal(t, []string{
		"07:08:09  breaker of ratings in reviews v3 (pid 4711) is open: 2 failures in a row",
		"last 200 503 connect; tries again in 1.5s",
	}, got[0].lines())
	require.Equal(t, []string{
		"07:08:11  breaker of ratings in reviews v3 (pid 4711) is closed again: 3 trials succeeded",
		"open for 2s, 7 calls refused, opened again by 1 failed trials",
	}, got[1].lines())
	later, _ := in.after(1)
	require.Equal(t, got[1:], later)
}

// TestAwaitWaits for an alert that has not come yet.
func TestAwaitWaits(t *testing.T) {
	in := newInbox(t)
	go report(served{}, in.url)(breaker.Event{Service: "ratings"})
	got, err := in.await(t.Context(), 0, 1)
	require.NoError(t, err)
	require.Len(t, got, 1)
}

// TestInboxRefuses what is no alert, and more than it can keep.
func TestInboxRefuses(t *testing.T) {
	in := newInbox(t)
	take := func(body string) int {
		w := httptest.NewRecorder()
		in.take(w, httptest.NewRequest(http.MethodPost, "/alerts", strings.NewReader(body)))
		return w.Code
	}
	for _, bad := range []string{"", "[", `{"event": {"duration": "soon"}}`, `"` + strings.Repeat("x", mostAnswer) + `"`} {
		require.Equal(t, http.StatusBadRequest, take(bad))
	}
	resp, err := http.Get(in.url)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)
	none, _ := in.after(0)
	require.Empty(t, none)

	in.all = make([]alert, mostAlerts)
	require.Equal(t, http.StatusInsufficientStorage, take("{}"))
	require.ErrorContains(t, send(in.url), "507")
}

// send posts an alert as a process does.
func send(url string) error { return post(http.DefaultClient, url, alert{}) }
