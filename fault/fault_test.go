package fault_test

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

func injector(t testing.TB, p fault.Policy) *fault.Injector {
	t.Helper()
	i, err := fault.New(p, rand.New(rand.NewPCG(1, 2)).Uint64)
	require.NoError(t, err)
	return i
}

func request(method, path string) *http.Request {
	return httptest.NewRequest(method, "http://reviews"+path, nil)
}

// Delay and abort hit their shares of requests, each on its own.
func TestShares(t *testing.T) {
	const n = 200_000
	p, q := .3, .002
	i := injector(t, fault.Policy{Delay: &fault.Delay{Percent: 100 * p, Duration: time.Second}, Abort: &fault.Abort{Percent: 100 * q, Status: 503}})
	r := request("GET", "/")
	var delayed, aborted, both int
	for range n {
		d := i.Decide(r)
		if d.Delay > 0 {
			delayed++
		}
		if d.Abort != nil {
			aborted++
		}
		if d.Delay > 0 && d.Abort != nil {
			both++
		}
	}
	// Six standard deviations: once in 10^9 runs by chance, and the seed is fixed.
	near := func(p float64, got int) {
		t.Helper()
		assert.InDelta(t, n*p, got, 6*math.Sqrt(n*p*(1-p)))
	}
	near(p, delayed)
	near(q, aborted)
	near(p*q, both)
	assert.Equal(t, fault.Stats{Matched: n, Delayed: uint64(delayed), Aborted: uint64(aborted)}, i.Stats())
}

func TestSmallestAndWholeShare(t *testing.T) {
	never := func() uint64 { return math.MaxUint64 }
	always := func() uint64 { return 0 }
	for percent, row := range map[float64][2]bool{100: {true, true}, 1e-9: {true, false}} {
		for n, draw := range []func() uint64{always, never} {
			i, err := fault.New(fault.Policy{Abort: &fault.Abort{Percent: percent, Status: 503}}, draw)
			require.NoError(t, err)
			assert.Equal(t, row[n], i.Decide(request("GET", "/")).Abort != nil, "%v %% at draw %d", percent, n)
		}
	}
}

func TestOnlyWhatMatchesIsHit(t *testing.T) {
	i := injector(t, fault.Policy{
		Match: []match.Request{{Path: match.Path{Prefix: "/a"}}, {Methods: []string{"PUT"}}},
		Abort: &fault.Abort{Percent: 100, Status: 503},
	})
	assert.NotNil(t, i.Decide(request("GET", "/a/b")).Abort)
	assert.NotNil(t, i.Decide(request("PUT", "/")).Abort)
	assert.Nil(t, i.Decide(request("GET", "/")).Abort)
	assert.EqualValues(t, 2, i.Stats().Matched)
}

func TestObserveDecidesAndDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := injector(t, fault.Policy{
			Mode:  outcome.Observe,
			Delay: &fault.Delay{Percent: 100, Duration: time.Minute}, Abort: &fault.Abort{Percent: 100, Status: 503},
		})
		begin := time.Now()
		abort, err := i.Inject(t.Context(), request("GET", "/"))
		require.NoError(t, err)
		assert.Nil(t, abort)
		assert.Zero(t, time.Since(begin))
		assert.Equal(t, fault.Stats{Matched: 1, Delayed: 1, Aborted: 1}, i.Stats())
	})
}

func TestEveryFaultIsReported(t *testing.T) {
	err := fault.Policy{
		Mode: 7, Match: []match.Request{{Path: match.Path{Regex: "("}}},
		Delay: &fault.Delay{Percent: 101, Duration: time.Hour}, Abort: &fault.Abort{Percent: math.NaN(), Status: 99},
	}.Validate()
	for _, want := range []string{"mode: 7", "matches[0].path.regex", "delay.percent: 101", "delay.duration: 1h", "abort.percent: NaN", "abort.status: 99"} {
		assert.ErrorContains(t, err, want)
	}
	assert.ErrorContains(t, fault.Policy{}.Validate(), "neither is set")
	assert.ErrorContains(t, fault.Policy{Abort: &fault.Abort{Percent: 1, Reset: true, Status: 500}}.Validate(), "excludes reset")
	_, err = fault.New(fault.Policy{}, nil)
	assert.Error(t, err)
}

// What a caller does to its Policy after New changes nothing.
func TestPolicyIsCopied(t *testing.T) {
	p := fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 503}, Delay: &fault.Delay{Percent: 100, Duration: time.Second}}
	i := injector(t, p)
	p.Abort.Status, p.Delay.Duration = 200, time.Hour
	d := i.Decide(request("GET", "/"))
	assert.Equal(t, 503, d.Abort.Status)
	assert.Equal(t, time.Second, d.Delay)
}

type body struct {
	io.Reader
	closed int
}

func (b *body) Close() error { b.closed++; return nil }

func TestMiddlewareEndsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reached := func(*http.Request) (*http.Response, error) { t.Error("reached"); return nil, io.EOF }
		for name, row := range map[string]struct {
			method string
			abort  fault.Abort
			err    error
			length int64
			body   string
		}{
			"status":  {"POST", fault.Abort{Percent: 100, Status: 503}, nil, 18, "an injected fault\n"},
			"head":    {"HEAD", fault.Abort{Percent: 100, Status: 503}, nil, 18, ""},
			"no body": {"POST", fault.Abort{Percent: 100, Status: 204}, nil, 0, ""},
			"reset":   {"POST", fault.Abort{Percent: 100, Reset: true}, fault.ErrReset, 0, ""},
		} {
			rt := injector(t, fault.Policy{Abort: &row.abort}).Middleware(roundTripper(reached))
			b := &body{Reader: strings.NewReader("x")}
			req := httptest.NewRequest(row.method, "http://reviews/", b)
			resp, err := rt.RoundTrip(req)
			assert.Equal(t, 1, b.closed, name)
			if row.err != nil {
				assert.ErrorIs(t, err, row.err)
				assert.Equal(t, outcome.Reset, outcome.HTTP{}.Classify(nil, err).Class)
				continue
			}
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Same(t, req, resp.Request, name)
			assert.Equal(t, row.body, string(got), name)
			assert.Equal(t, row.length, resp.ContentLength, name)
			assert.Equal(t, row.abort.Status, resp.StatusCode, name)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b := &body{Reader: strings.NewReader("x")}
		rt := injector(t, fault.Policy{Delay: &fault.Delay{Percent: 100, Duration: time.Minute}}).Middleware(roundTripper(reached))
		_, err := rt.RoundTrip(httptest.NewRequest("POST", "http://reviews/", b).WithContext(ctx))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 1, b.closed)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestHandlerEndsRequests(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	serve := func(p fault.Policy, method string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		injector(t, p).Handler(next).ServeHTTP(rec, request(method, "/"))
		return rec
	}
	rec := serve(fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 503}}, "GET")
	assert.Equal(t, 503, rec.Code)
	assert.Equal(t, "an injected fault\n", rec.Body.String())
	assert.Empty(t, serve(fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 503}}, "HEAD").Body.String())
	assert.Empty(t, serve(fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 304}}, "GET").Body.String())
	none := fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 503}, Match: []match.Request{{Methods: []string{"PUT"}}}}
	assert.Equal(t, http.StatusTeapot, serve(none, "GET").Code)
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() { serve(fault.Policy{Abort: &fault.Abort{Percent: 100, Reset: true}}, "GET") })
}

// A request that is not hit keeps every contract.
func TestConformance(t *testing.T) {
	observed := fault.Policy{Mode: outcome.Observe, Abort: &fault.Abort{Percent: 100, Reset: true}}
	spared := fault.Policy{Abort: &fault.Abort{Percent: 100, Status: 503}, Match: []match.Request{{Methods: []string{"NEVER"}}}}
	for name, p := range map[string]fault.Policy{"observed": observed, "spared": spared} {
		t.Run(name, func(t *testing.T) {
			i, err := fault.New(p, nil)
			require.NoError(t, err)
			t.Run("middleware", func(t *testing.T) { tulletest.TestRoundTripper(t, i.Middleware) })
			t.Run("handler", func(t *testing.T) { tulletest.TestHandler(t, i.Handler) })
		})
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	i := injector(t, fault.Policy{Abort: &fault.Abort{Percent: 50, Status: 503}, Match: []match.Request{{Path: match.Path{Prefix: "/"}}}})
	r := request("GET", "/a")
	assert.Zero(t, testing.AllocsPerRun(1000, func() { i.Decide(r) }))
}

func BenchmarkDecide(b *testing.B) {
	i, err := fault.New(fault.Policy{Abort: &fault.Abort{Percent: 50, Status: 503}}, nil)
	require.NoError(b, err)
	r := request("GET", "/a")
	b.ReportAllocs()
	for b.Loop() {
		i.Decide(r)
	}
}
