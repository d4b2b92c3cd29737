package overload_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/overload"
)

// serve sends a request through the middleware and returns its load report.
func serve(t testing.TB, g *overload.Guard, h http.HandlerFunc) (endpoint.LoadReport, *httptest.ResponseRecorder) {
	t.Helper()
	rec := httptest.NewRecorder()
	g.Middleware(h).ServeHTTP(rec, httptest.NewRequest("GET", "/", http.NoBody))
	r, err := endpoint.ParseLoadReport(rec.Result().Header.Get(endpoint.LoadReportHeader))
	require.NoError(t, err)
	return r, rec
}

func nothing(http.ResponseWriter, *http.Request) {}

// The report tells of a steady load what it is, on whatever kind of response.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := overload.New(overload.Policy{MaxInFlight: 64}, overload.Options{CPU: func() float64 { return .31 }})
		require.NoError(t, err)
		handler := g.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(30 * time.Millisecond)
			if r.URL.Path == "/broken" {
				w.WriteHeader(500)
			}
		}))
		// Two hundred a second for ten seconds, of which each fourth fails.
		for i := range 2000 {
			path := "/"
			if i%4 == 0 {
				path = "/broken"
			}
			go handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, http.NoBody))
			time.Sleep(5 * time.Millisecond)
		}
		for name, h := range map[string]http.HandlerFunc{
			"nothing": nothing,
			"status":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
			"body":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") },
			"flush":   func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
			"redirect": func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
			},
		} {
			synctest.Wait()
			before := g.Stats().InFlight
			assert.InDelta(t, 6, before, 1, name)
			r, rec := serve(t, g, h)
			assert.InDelta(t, .31, r.CPU, 1e-9, name)
			assert.InDelta(t, 200, r.RPS, 5, name)
			assert.InDelta(t, 50, r.EPS, 3, name)
			assert.InDelta(t, 30*time.Millisecond, r.ServiceTime, float64(time.Millisecond), name)
			assert.EqualValues(t, before, r.InFlight, "%s: this one is not counted", name)
			assert.EqualValues(t, 64, r.Limit, name)
			assert.False(t, r.Leaving)
			assert.Empty(t, r.Named)
			assert.LessOrEqual(t, len(rec.Header().Get(endpoint.LoadReportHeader)), 160)
		}
		time.Sleep(time.Minute)
		_, _ = serve(t, g, nothing)
		s := g.Stats()
		assert.Less(t, s.RPS, 1., "a minute later it is another load")
		assert.Less(t, s.EPS, 1.)
		assert.Greater(t, s.ServiceTime, 20*time.Millisecond, "one request says little")
	})
}

func TestNoReport(t *testing.T) {
	rec := httptest.NewRecorder()
	newGuard(t, overload.Policy{NoReport: true}).Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.True(t, overload.AddMetric(r.Context(), "x", 1))
		w.WriteHeader(http.StatusOK)
		assert.False(t, overload.AddMetric(r.Context(), "x", 1), "there will be no trailer")
	})).ServeHTTP(rec, httptest.NewRequest("GET", "/", http.NoBody))
	assert.Empty(t, rec.Header())
}

func TestLeaving(t *testing.T) {
	g := newGuard(t, overload.Policy{})
	for _, leaving := range []bool{true, false} {
		g.SetLeaving(leaving)
		r, rec := serve(t, g, nothing)
		assert.Equal(t, leaving, r.Leaving)
		assert.Equal(t, leaving, g.Stats().Leaving)
		assert.Equal(t, 200, rec.Code)
	}
}

// Waiting is no part of the time that a request takes.
func TestServiceTimeIsWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{MaxInFlight: 1, MaxWait: time.Minute})
		handler := g.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }))
		for range 10 {
			go handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", http.NoBody))
		}
		time.Sleep(time.Minute)
		s := g.Stats()
		assert.EqualValues(t, 9, s.Waited)
		assert.Equal(t, time.Second, s.ServiceTime)
	})
}

// What fails at once, is cut off early or never ends is not how long requests
// take.
func TestWhatIsNoServiceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{})
		usual := func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }
		for range 5 {
			serve(t, g, usual)
		}
		require.Equal(t, time.Second, g.Stats().ServiceTime)
		for range 100 {
			serve(t, g, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
			ctx, cancel := context.WithCancel(t.Context())
			g.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { cancel() })).ServeHTTP(
				httptest.NewRecorder(), httptest.NewRequest("GET", "/", http.NoBody).WithContext(ctx))
			serve(t, g, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
				w.(http.Flusher).Flush()
				time.Sleep(time.Hour)
			})
		}
		assert.Equal(t, time.Second, g.Stats().ServiceTime)
		// That they take longer than usual is known, even of those that fail.
		for range 100 {
			serve(t, g, func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(5 * time.Second)
				w.WriteHeader(504)
			})
		}
		assert.Greater(t, g.Stats().ServiceTime, 4*time.Second)
	})
}

func TestAddMetric(t *testing.T) {
	g := newGuard(t, overload.Policy{})
	var ended context.Context
	r, _ := serve(t, g, func(w http.ResponseWriter, r *http.Request) {
		for _, row := range []struct {
			name string
			v    float64
			want bool
		}{
			{"queue", 3, true},
			{"queue", 4, true},
			{"named_metrics.depth", -1.5, true},
			{"zero", 0, true},
			{"utilization.disk", .5, true},
			{"request_cost.rows", 1e6, true},
			{"application_utilization", .7, true},
			{"mem_utilization", .25, true},
			{"mem_utilization", 2, false},
			{"application_utilization", -1, false},
			{"utilization.disk", -1, false},
			{"request_cost.rows", math.Inf(1), false},
			{"nan", math.NaN(), false},
			{"rif", 0, false}, // the guard's own
			{"leaving", 1, false},
			{"", 1, false},
			{"a b", 1, false},
			{"a,b=1", 1, false},
		} {
			assert.Equal(t, row.want, overload.AddMetric(r.Context(), row.name, row.v), "%s %v", row.name, row.v)
		}
		ctx, cancel := context.WithCancel(context.WithValue(r.Context(), key{}, 1))
		defer cancel()
		assert.True(t, overload.AddMetric(ctx, "derived", 1))
		_, _ = io.WriteString(w, "x")
		assert.True(t, overload.AddMetric(r.Context(), "late", 1), "there may be a trailer")
		ended = r.Context()
	})
	assert.False(t, overload.AddMetric(ended, "late", 1), "the response has ended")
	assert.Equal(t, []endpoint.Metric{
		{Name: "named_metrics.queue", Value: 4}, {Name: "named_metrics.depth", Value: -1.5}, {Name: "named_metrics.zero"},
		{Name: "utilization.disk", Value: .5}, {Name: "request_cost.rows", Value: 1e6}, {Name: "named_metrics.derived", Value: 1},
	}, r.Named)
	assert.InDelta(t, .7, r.Application, 1e-9)
	assert.InDelta(t, .25, r.Memory, 1e-9)
	assert.False(t, overload.AddMetric(t.Context(), "x", 1), "there is no guard")

	serve(t, g, func(_ http.ResponseWriter, r *http.Request) {
		for i := range 33 {
			assert.Equal(t, i < 32, overload.AddMetric(r.Context(), fmt.Sprint("m", i), 1))
		}
	})
}

type key struct{}

// Goroutines of the handler may add figures while the header is sent.
func TestMetricsRace(t *testing.T) {
	g := newGuard(t, overload.Policy{})
	for range 50 {
		var wg sync.WaitGroup
		serve(t, g, func(w http.ResponseWriter, r *http.Request) {
			for i := range 4 {
				wg.Go(func() {
					for v := range 20 {
						overload.AddMetric(r.Context(), fmt.Sprint("m", i), float64(v))
					}
				})
			}
			w.WriteHeader(http.StatusOK)
		})
		wg.Wait()
	}
}

// A response that has no part in the guard, such as a refusal before it, has a
// report as well.
func TestReportWithoutTicket(t *testing.T) {
	g := newGuard(t, overload.Policy{MaxInFlight: 5})
	ticket := enter(t, g)
	for want, of := range map[string]*overload.Ticket{
		"TEXT named_metrics.rif=1,named_metrics.lim=5": nil,
		"TEXT named_metrics.lim=5":                     ticket,
	} {
		h := http.Header{}
		g.WriteReport(h, of, nil)
		assert.Equal(t, want, h.Get(endpoint.LoadReportHeader))
	}
	foreign := enter(t, newGuard(t, overload.Policy{}))
	assert.EqualValues(t, 1, g.Report(foreign).InFlight, "another guard's")
	ticket.Leave(true)
	assert.Zero(t, g.Report(ticket).InFlight, "it has left")
}

// The largest figures that a report is likely to have fit into its bound.
func TestReportIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := overload.New(overload.Policy{MaxInFlight: 99_999}, overload.Options{CPU: func() float64 { return 99.123 }})
		require.NoError(t, err)
		g.SetLeaving(true)
		time.Sleep(time.Second)
		for range 99_998 {
			enter(t, g)
		}
		slow := enter(t, g)
		time.Sleep(98_765 * time.Millisecond)
		slow.Leave(true)
		for range 20 {
			for range 10_000 {
				ticket := enter(t, g)
				ticket.Untimed()
				ticket.Leave(false)
			}
			time.Sleep(250 * time.Millisecond)
		}
		_, rec := serve(t, g, nothing)
		text := rec.Header().Get(endpoint.LoadReportHeader)
		assert.Contains(t, text, "leaving")
		assert.LessOrEqual(t, len(text), 160, text)
		assert.Greater(t, len(text), 140, text)
	})
}
