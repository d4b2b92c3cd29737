package overload_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// A request goes back where more than its room would be in flight, and it would
// have to share a processor or wait for a place.
func TestSendBack(t *testing.T) {
	fixed := func(n int) overload.Policy { return overload.Policy{MaxInFlight: n, MaxWait: time.Minute} }
	for name, row := range map[string]struct {
		policy     overload.Policy
		processors int
		present    int
		room       int
		want       bool
		leaving    bool
	}{
		"one more than there is room for":     {fixed(2), 2, 2, 2, true, false},
		"just room":                           {fixed(2), 2, 2, 3, false, false},
		"no word of room":                     {fixed(2), 2, 9, 0, false, false},
		"less than none":                      {fixed(2), 2, 9, -1, false, false},
		"nobody is there":                     {fixed(2), 2, 0, 1, false, false},
		"a place and a processor is free":     {fixed(2), 2, 1, 1, false, false},
		"no place is free":                    {fixed(2), 8, 2, 1, true, false},
		"no processor is free":                {fixed(8), 2, 2, 1, true, false},
		"more wait than there is room for":    {fixed(2), 2, 5, 5, true, false},
		"as many wait as there is room for":   {fixed(2), 2, 5, 6, false, false},
		"the limit adapts":                    {overload.Policy{Adaptive: overload.Adaptive{Initial: 20}}, 2, 3, 3, true, false},
		"the limit adapts, enough processors": {overload.Policy{Adaptive: overload.Adaptive{Initial: 20}}, 4, 3, 3, false, false},
		"the limit adapts and is low":         {overload.Policy{Adaptive: overload.Adaptive{Initial: 2}}, 4, 2, 2, true, false},
		"also while it leaves":                {fixed(2), 2, 2, 2, true, true},
		"without a report nobody understands": {overload.Policy{MaxInFlight: 2, NoReport: true}, 2, 2, 1, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, err := overload.New(row.policy, overload.Options{Processors: row.processors, CPU: func() float64 { return -1 }})
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				defer synctest.Wait()
				defer cancel()
				for range row.present {
					go func() {
						// Those that wait do so until the end.
						if ticket, err := g.Enter(ctx); err == nil {
							<-ctx.Done()
							ticket.Leave(true)
						}
					}()
				}
				synctest.Wait()
				g.SetLeaving(row.leaving)
				before := g.Stats()
				require.Equal(t, row.present, before.InFlight+before.Waiting)

				var ticket overload.Ticket
				assert.Equal(t, row.want, g.SendBack(&ticket, row.room))
				assert.Equal(t, row.want, g.SendBack(nil, row.room))
				want := before
				if row.want {
					want.SentBack = 2
				}
				assert.Equal(t, want, g.Stats(), "it is counted, and counts for nothing else")
				assert.Equal(t, row.want, g.Report(&ticket).SentBack)
				assert.EqualValues(t, row.present, g.Report(&ticket).InFlight, "all but itself")
				assert.Equal(t, row.leaving, g.Report(&ticket).Leaving)
				assert.False(t, g.Report(nil).SentBack)
				ticket.Untimed()
				ticket.Leave(false)
				assert.Equal(t, want, g.Stats(), "there is no place to give back")
			})
		})
	}
}

// Under Observe nothing goes back.
func TestSendBackObserved(t *testing.T) {
	g, err := overload.New(overload.Policy{Mode: outcome.Observe, MaxInFlight: 1, Waiting: -1}, overload.Options{Processors: 1})
	require.NoError(t, err)
	var ticket overload.Ticket
	assert.False(t, g.SendBack(&ticket, 1))
	assert.Zero(t, g.Stats().WouldSendBack)
	enter(t, g)
	enter(t, g)
	assert.False(t, g.SendBack(&ticket, 2))
	assert.False(t, g.SendBack(&ticket, 3))
	assert.False(t, g.Report(&ticket).SentBack)
	s := g.Stats()
	assert.EqualValues(t, 1, s.WouldSendBack)
	assert.Zero(t, s.SentBack)
}

// What goes back is neither answered nor in error, and takes no time.
func TestSentBackIsInNoFigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := overload.New(overload.Policy{MaxInFlight: 1}, overload.Options{Processors: 1, CPU: func() float64 { return -1 }})
		require.NoError(t, err)
		figures := func() endpoint.LoadReport {
			s := g.Stats()
			return endpoint.LoadReport{RPS: s.RPS, EPS: s.EPS, ServiceTime: s.ServiceTime}
		}
		for range 100 {
			ticket := enter(t, g)
			time.Sleep(100 * time.Millisecond)
			for range 10 {
				assert.True(t, g.SendBack(new(overload.Ticket), 1))
			}
			ticket.Leave(true)
		}
		got := figures()
		assert.InDelta(t, 10, got.RPS, 1)
		assert.Zero(t, got.EPS)
		assert.Equal(t, 100*time.Millisecond, got.ServiceTime)

		// The report of one that goes back is no older than any other.
		enter(t, g)
		time.Sleep(10 * time.Second)
		ticket := new(overload.Ticket)
		require.True(t, g.SendBack(ticket, 1))
		assert.Less(t, g.Report(ticket).RPS, 1.)
	})
}

func TestProcessorsAreNotNegative(t *testing.T) {
	_, err := overload.New(overload.Policy{Waiting: -1, MaxWait: time.Second}, overload.Options{Processors: -1})
	assert.EqualError(t, err, "maxWait: needs waiting\noptions.processors: -1 is negative")
}

// The middleware goes by the field of the request.
func TestMiddlewareSendsBack(t *testing.T) {
	g, _ := full(t, overload.Policy{Exempt: []match.Request{{Path: match.Path{Exact: "/healthz"}}}})
	handler := g.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, row := range map[string]struct {
		method, path, told string
		header             http.Header
		want               int
	}{
		"there is more":           {"GET", "/", "r=1", nil, 421},
		"beside a deadline":       {"POST", "/", "d=10, r=1", nil, 421},
		"to HEAD":                 {"HEAD", "/", "r=1", nil, 421},
		"just room":               {"GET", "/", "r=2", nil, 503},
		"no word of it":           {"GET", "/", "d=10", nil, 503},
		"a word nobody can read":  {"GET", "/", "r=1,", nil, 503},
		"who needs no place":      {"GET", "/healthz", "r=1", nil, 200},
		"who wants a connection":  {"GET", "/", "r=1", http.Header{"Upgrade": {"x"}, "Connection": {"upgrade"}}, 503},
		"who wants another place": {"CONNECT", "/", "r=1", nil, 503},
	} {
		r := httptest.NewRequest(row.method, "/", http.NoBody)
		r.URL.Path = row.path
		maps.Copy(r.Header, row.header)
		r.Header.Set("Tulle-Call", row.told)
		rec := httptest.NewRecorder()
		before := g.Stats()
		handler.ServeHTTP(rec, r)
		assert.Equal(t, row.want, rec.Code, name)
		report, err := endpoint.ParseLoadReport(rec.Header().Get(endpoint.LoadReportHeader))
		require.NoError(t, err)
		assert.Equal(t, row.want == 421, report.SentBack, name)
		assert.EqualValues(t, 1, report.InFlight, name)
		after := g.Stats()
		assert.Equal(t, row.want == 421, after.SentBack > before.SentBack, name)
		assert.Equal(t, row.want == 503, after.Refused > before.Refused, name)
		if row.want != 421 {
			continue
		}
		assert.Empty(t, rec.Header().Get("Retry-After"), "it is to be made anew at once")
		assert.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
		assert.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
		if row.method == "HEAD" {
			assert.Empty(t, rec.Body.String())
			continue
		}
		var problem map[string]any
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &problem))
		assert.Equal(t, map[string]any{
			"type": "about:blank", "title": "Misdirected Request", "status": 421.0, "detail": "the server is busier than the caller expected",
		}, problem)
	}
}
