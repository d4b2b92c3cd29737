package overload_test

import (
	"context"
	"encoding/json"
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
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// But for the report, a request that is let in keeps every contract.
func TestConformance(t *testing.T) {
	for name, p := range map[string]overload.Policy{
		"adaptive": {NoReport: true, Adaptive: overload.Adaptive{Initial: 100}},
		"observed": {NoReport: true, Mode: outcome.Observe, MaxInFlight: 1},
		"exempt":   {NoReport: true, MaxInFlight: 1, Exempt: []match.Request{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			tulletest.TestHandler(t, func(next http.Handler) http.Handler { return newGuard(t, p).Middleware(next) })
		})
	}
}

// full returns a guard without a place, and what makes one.
func full(t *testing.T, p overload.Policy) (*overload.Guard, *overload.Ticket) {
	p.MaxInFlight, p.Waiting = 1, -1
	g := newGuard(t, p)
	return g, enter(t, g)
}

var never = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("reached") })

func TestRefusal(t *testing.T) {
	g, _ := full(t, overload.Policy{})
	for _, method := range []string{"GET", "HEAD", "POST"} {
		rec := httptest.NewRecorder()
		g.Middleware(never).ServeHTTP(rec, httptest.NewRequest(method, "/", http.NoBody))
		assert.Equal(t, http.StatusServiceUnavailable, rec.Code)
		assert.Equal(t, "1", rec.Header().Get("Retry-After"))
		assert.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
		assert.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
		assert.Equal(t, "TEXT named_metrics.rif=1,named_metrics.lim=1", rec.Header().Get(endpoint.LoadReportHeader))
		if method == "HEAD" {
			assert.Empty(t, rec.Body.String())
			continue
		}
		var problem map[string]any
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &problem))
		assert.Equal(t, map[string]any{
			"type": "about:blank", "title": "Service Unavailable", "status": 503.0, "detail": "the server is overloaded",
		}, problem)
	}
}

func TestEndedRequestIsNotServed(t *testing.T) {
	g := newGuard(t, overload.Policy{})
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	rec := httptest.NewRecorder()
	g.Middleware(never).ServeHTTP(rec, httptest.NewRequest("GET", "/", http.NoBody).WithContext(ctx))
	assert.Equal(t, http.StatusGatewayTimeout, rec.Code)
	assert.Empty(t, rec.Header().Get("Retry-After"), "nobody is left to retry")
	assert.NotEmpty(t, rec.Header().Get(endpoint.LoadReportHeader))

	ctx, stop := context.WithCancel(t.Context())
	stop()
	rec = httptest.NewRecorder()
	g.Middleware(never).ServeHTTP(rec, httptest.NewRequest("GET", "/", http.NoBody).WithContext(ctx))
	assert.Equal(t, 499, rec.Code)
	assert.EqualValues(t, 2, g.Stats().Expired)
}

// A client of ours comes back when it is told to, and is served then.
func TestOurClientUnderstands(t *testing.T) {
	call := func(t *testing.T, wrap func(http.Handler) http.Handler) (status, attempts int, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			g, ticket := full(t, overload.Policy{})
			time.AfterFunc(900*time.Millisecond, func() { ticket.Leave(true) })
			net := tulletest.NewNetwork()
			net.Serve(t, "reviews:80", wrap(g.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))))
			loop, err := retry.New(retry.Options{Policy: &retry.Policy{}})
			require.NoError(t, err)
			tr := &http.Transport{DialContext: net.DialContext}
			defer tr.CloseIdleConnections()
			client := &http.Client{Transport: loop.Middleware(nil)(tr)}
			begin := time.Now()
			resp, err := client.Get("http://reviews/")
			require.NoError(t, err)
			took = time.Since(begin)
			require.NoError(t, resp.Body.Close())
			status = resp.StatusCode
			attempts = int(g.Stats().Refused) + 1
		})
		return status, attempts, took
	}
	status, attempts, took := call(t, func(next http.Handler) http.Handler { return next })
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, 2, attempts)
	assert.GreaterOrEqual(t, took, time.Second)

	// The negative control: what is asked for is too much, or nothing.
	for _, after := range []string{"2", ""} {
		status, _, _ = call(t, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				if after != "" {
					w.Header().Set("Retry-After", after)
				}
				w.WriteHeader(rec.Code)
			})
		})
		assert.Equal(t, http.StatusServiceUnavailable, status, "Retry-After %q", after)
	}
}

func TestProbesGetThrough(t *testing.T) {
	g, _ := full(t, overload.Policy{Exempt: []match.Request{{Path: match.Path{Exact: "/healthz"}}}})
	handler := g.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for path, want := range map[string]int{"/healthz": 200, "/": 503} {
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest("GET", path, http.NoBody))
		assert.Equal(t, want, rec.Code, path)
	}
	assert.Equal(t, 1, g.Stats().InFlight)
}

// What counts as served is what is below 500, and came to its end.
func TestObservedOutcome(t *testing.T) {
	for name, row := range map[string]struct {
		handler   http.HandlerFunc
		succeeded uint64
	}{
		"nothing":     {func(http.ResponseWriter, *http.Request) {}, 1},
		"not found":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, 1},
		"unavailable": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 0},
		"panic":       {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, 0},
	} {
		g := newGuard(t, overload.Policy{Mode: outcome.Observe, MaxInFlight: 1, Waiting: -1})
		enter(t, g)
		func() {
			defer func() { _ = recover() }()
			rec := httptest.NewRecorder()
			g.Middleware(row.handler).ServeHTTP(rec, httptest.NewRequest("GET", "/", http.NoBody))
			assert.NotEmpty(t, rec.Header().Get(endpoint.LoadReportHeader), "observing is no reason not to report")
		}()
		s := g.Stats()
		assert.EqualValues(t, 1, s.WouldRefuse, name)
		assert.Equal(t, row.succeeded, s.WouldRefuseSucceeded, name)
		assert.Zero(t, s.Refused, name)
	}
}
