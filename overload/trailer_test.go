package overload_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/tulletest"
)

// ask has a handler under a guard asked over a connection, and returns the
// response once its body was read, with what ended that.
func ask(t *testing.T, http2 bool, p overload.Policy, method string, h http.HandlerFunc) (*http.Response, error) {
	network := tulletest.NewNetwork()
	network.Serve(t, "server.test:80", newGuard(t, p).Middleware(h))
	transport := &http.Transport{DialContext: network.DialContext, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	t.Cleanup(transport.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), method, "http://server.test/", http.NoBody)
	require.NoError(t, err)
	resp, err := transport.RoundTrip(r)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, resp.Body.Close())
	time.Sleep(2 * time.Hour) // some handlers go on when their response is complete
	return resp, err
}

// flush sends what there is; over HTTP/1.0 nobody hears of it before the end.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// stream answers with a body that takes so long.
func stream(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		flush(w)
		time.Sleep(d)
		_, _ = io.WriteString(w, "last")
	}
}

// after runs what a handler does before, and then another.
func after(first func(w http.ResponseWriter, r *http.Request), then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		first(w, r)
		then(w, r)
	}
}

// Responses that go on for a second after their header have a report in their
// trailers, where the protocol has a place for one. Others are what they would
// be without.
func TestTrailer(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			flush(w)
			time.Sleep(2 * time.Second)
		}
	}
	passed := func(w http.ResponseWriter, _ *http.Request) {
		w.Header()[http.TrailerPrefix+endpoint.LoadReportHeader] = []string{"TEXT eps=99"}
	}
	for name, row := range map[string]struct {
		policy       overload.Policy
		method       string
		handler      http.HandlerFunc
		http1, http2 string // what the trailer is
		sum          string // the handler's own
	}{
		"short":         {handler: stream(0)},
		"nearly long":   {handler: stream(time.Second - 1)},
		"long":          {handler: stream(time.Second), http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7"},
		"long to POST":  {method: "POST", handler: stream(time.Hour), http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7"},
		"long before":   {handler: func(w http.ResponseWriter, _ *http.Request) { time.Sleep(time.Hour); flush(w) }},
		"long unsent":   {handler: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); time.Sleep(time.Hour) }, http2: "TEXT named_metrics.lim=7"},
		"event stream":  {handler: after(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/event-stream") }, stream(time.Hour)), http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7"},
		"an error":      {handler: status(500), http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7"},
		"HEAD":          {method: "HEAD", handler: stream(time.Hour)},
		"204":           {handler: status(204)},
		"304":           {handler: status(304)},
		"with a length": {handler: after(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "9") }, stream(time.Hour)), http2: "TEXT named_metrics.lim=7"},
		"early hints":   {handler: after(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); time.Sleep(time.Hour) }, stream(0))},
		"no report":     {policy: overload.Policy{NoReport: true}, handler: stream(time.Hour)},
		"no report, of the handler's own": {policy: overload.Policy{NoReport: true}, handler: after(stream(time.Hour), passed),
			http1: "TEXT eps=99", http2: "TEXT eps=99"},
		"exempt":   {policy: overload.Policy{Exempt: []match.Request{{}}}, handler: stream(time.Hour), http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7"},
		"observed": {policy: overload.Policy{Mode: outcome.Observe}, handler: stream(time.Hour), http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7"},
		"trailers announced": {handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum, X-Other")
			stream(time.Hour)(w, r)
			w.Header().Set("X-Sum", "42")
		}, http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7", sum: "42"},
		"trailers unannounced": {handler: func(w http.ResponseWriter, r *http.Request) {
			stream(time.Hour)(w, r)
			w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
		}, http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7", sum: "42"},
		"of a server behind, short":    {handler: after(stream(0), passed)},
		"of a server behind, long":     {handler: after(stream(time.Hour), passed), http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7"},
		"of a server behind, too soon": {handler: after(passed, stream(0))},
		"of a server behind, announced": {handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Trailer"] = []string{"endpoint-load-METRICS", "X-Sum,\tEndpoint-Load-Metrics ,X-Other", "Endpoint-Load-Metrics"}
			stream(0)(w, r)
			w.Header().Set(endpoint.LoadReportHeader, "TEXT eps=99")
			w.Header().Set("X-Sum", "42")
		}, sum: "42"},
		"of a server behind, announced, long": {handler: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "Endpoint-Load-Metrics")
			stream(time.Hour)(w, r)
			w.Header().Set(endpoint.LoadReportHeader, "TEXT eps=99")
		}, http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7"},
		"metrics after the header": {handler: func(w http.ResponseWriter, r *http.Request) {
			assert.True(t, overload.AddMetric(r.Context(), "rows", 1))
			stream(time.Hour)(w, r)
			assert.True(t, overload.AddMetric(r.Context(), "rows", 2))
			assert.True(t, overload.AddMetric(r.Context(), "mem_utilization", .5))
		}, http1: "TEXT mem_utilization=0.5,named_metrics.lim=7,named_metrics.rows=2", http2: "TEXT mem_utilization=0.5,named_metrics.lim=7,named_metrics.rows=2"},
		"a request that the handler has changed": {handler: func(w http.ResponseWriter, r *http.Request) {
			r.Method, r.ProtoMajor, r.ProtoMinor = "HEAD", 1, 0
			stream(time.Hour)(w, r)
		}, http1: "TEXT named_metrics.lim=7", http2: "TEXT named_metrics.lim=7"},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, http2 %v", name, http2), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					row.policy.MaxInFlight = 7
					method, want := row.method, row.http1
					if method == "" {
						method = "GET"
					}
					if http2 {
						want = row.http2
					}
					// What a request takes is known only after the first.
					resp, err := ask(t, http2, row.policy, method, row.handler)
					require.NoError(t, err)
					assert.Equal(t, !row.policy.NoReport, strings.HasPrefix(resp.Header.Get(endpoint.LoadReportHeader), "TEXT named_metrics.lim=7"))
					assert.Equal(t, want, withoutRates(resp.Trailer.Get(endpoint.LoadReportHeader)))
					assert.Equal(t, row.sum, resp.Trailer.Get("X-Sum"))
					switch {
					case want != "":
						assert.Len(t, resp.Trailer[endpoint.LoadReportHeader], 1)
					default:
						_, ok := resp.Trailer[endpoint.LoadReportHeader]
						assert.False(t, ok, "%v", resp.Trailer)
					}
				})
			})
		}
	}
}

// withoutRates leaves out what depends on the processor.
func withoutRates(text string) string {
	r, err := endpoint.ParseLoadReport(text)
	if err != nil {
		return text
	}
	r.CPU = 0
	return string(r.AppendText(nil))
}

// The trailer is of the moment that it is sent.
func TestTrailerIsOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{MaxInFlight: 1, MaxWait: time.Minute})
		network := tulletest.NewNetwork()
		network.Serve(t, "server.test:80", g.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stream" {
				stream(10*time.Second)(w, r)
			}
		})))
		transport := &http.Transport{DialContext: network.DialContext}
		t.Cleanup(transport.CloseIdleConnections)
		get := func(path string) *http.Response {
			r, err := http.NewRequestWithContext(t.Context(), "GET", "http://server.test"+path, http.NoBody)
			require.NoError(t, err)
			resp, err := transport.RoundTrip(r)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			return resp
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(5 * time.Second)
			for range 3 {
				wg.Go(func() { get("/") })
			}
			g.SetLeaving(true)
		})
		resp := get("/stream")
		first, err := endpoint.ParseLoadReport(resp.Header.Get(endpoint.LoadReportHeader))
		require.NoError(t, err)
		last, err := endpoint.ParseLoadReport(resp.Trailer.Get(endpoint.LoadReportHeader))
		require.NoError(t, err)
		assert.Zero(t, first.InFlight)
		assert.False(t, first.Leaving)
		assert.EqualValues(t, 3, last.InFlight, "those who wait, not the one that it comes with")
		assert.True(t, last.Leaving)
		wg.Wait()
	})
}

// What has no trailers gets none: HTTP/1.0, a connection that was taken over,
// and one that is cut.
func TestNoPlaceForATrailer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := tulletest.NewNetwork()
		network.Serve(t, "server.test:80", newGuard(t, overload.Policy{}).Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			stream(time.Hour)(w, r)
			switch r.URL.Path {
			case "/hijack":
				conn, _, err := w.(http.Hijacker).Hijack()
				if assert.NoError(t, err) {
					_ = conn.Close()
				}
			case "/panic":
				panic(http.ErrAbortHandler)
			}
		})))
		for _, what := range []string{"GET / HTTP/1.0", "GET /hijack HTTP/1.1", "GET /panic HTTP/1.1"} {
			conn, err := network.DialContext(t.Context(), "tcp", "server.test:80")
			require.NoError(t, err)
			_, err = io.WriteString(conn, what+"\r\nHost: server.test\r\n\r\n")
			require.NoError(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			if !strings.HasSuffix(what, "1.0") && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: %v", what, err)
			}
			assert.Equal(t, 1, strings.Count(fmt.Sprint(resp.Header, string(body), resp.Trailer), endpoint.LoadReportHeader), what)
			require.NoError(t, conn.Close())
		}
	})
}

// Adapters to servers other than net/http's may not know what the key of a
// trailer means. The recorder of httptest does, and shows it where it stands
// for such a server. Nobody may send trailers to CONNECT.
func TestTrailerOnRecorders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newGuard(t, overload.Policy{MaxInFlight: 7}).Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/length" {
				w.Header().Set("Content-Length", "9")
			}
			stream(time.Minute)(w, r)
		}))
		for _, row := range []struct {
			method string
			path   string
			major  int
			minor  int
			served bool
			want   bool
		}{
			{"GET", "/", 1, 1, false, false},
			{"GET", "/", 1, 1, true, true},
			{"GET", "/", 1, 0, true, false},
			{"GET", "/length", 1, 1, true, false},
			{"GET", "/length", 2, 0, true, true},
			{"GET", "/", 3, 0, true, true},
			{"HEAD", "/", 1, 1, true, false},
			{"CONNECT", "/", 2, 0, true, false},
		} {
			r, rec := httptest.NewRequest(row.method, row.path, http.NoBody), httptest.NewRecorder()
			r.ProtoMajor, r.ProtoMinor = row.major, row.minor
			if row.served {
				r = r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, &http.Server{}))
			}
			h.ServeHTTP(rec, r)
			assert.NotEmpty(t, rec.Header().Get(endpoint.LoadReportHeader))
			_, ok := rec.Result().Trailer[endpoint.LoadReportHeader]
			assert.Equal(t, row.want, ok, "%+v", row)
			assert.Equal(t, row.want, len(rec.Header()[http.TrailerPrefix+endpoint.LoadReportHeader]) > 0)
		}
	})
}

// The guards of one another's making: one report, that of the outermost.
func TestTrailerOfTheOutermost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newGuard(t, overload.Policy{MaxInFlight: 99})
		for _, http2 := range []bool{false, true} {
			resp, err := ask(t, http2, overload.Policy{MaxInFlight: 7}, "GET", inner.Middleware(stream(time.Minute)).ServeHTTP)
			require.NoError(t, err)
			require.Len(t, resp.Trailer[endpoint.LoadReportHeader], 1)
			assert.Contains(t, resp.Trailer.Get(endpoint.LoadReportHeader), "lim=7")
		}
	})
}

// Goroutines of the handler may go on adding figures whatever is being sent.
func TestMetricsRaceWithTheTrailer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 {
			var wg sync.WaitGroup
			resp, err := ask(t, false, overload.Policy{}, "GET", func(w http.ResponseWriter, r *http.Request) {
				overload.AddMetric(r.Context(), "m", 0)
				for i := range 4 {
					wg.Go(func() {
						time.Sleep(time.Minute)
						for v := range 20 {
							overload.AddMetric(r.Context(), "m", float64(v))
							overload.AddMetric(r.Context(), fmt.Sprint("m", i), float64(v))
						}
					})
				}
				stream(time.Minute)(w, r)
			})
			require.NoError(t, err)
			wg.Wait()
			require.NotEmpty(t, resp.Trailer.Get(endpoint.LoadReportHeader))
		}
	})
}

// Nothing is told twice, nor of a header that was never written.
func TestWriteTrailerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, overload.Policy{MaxInFlight: 7})
		r := httptest.NewRequest("GET", "/", http.NoBody)
		r = r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, &http.Server{}))
		var m overload.Metrics
		time.Sleep(time.Minute)
		h := http.Header{}
		g.WriteTrailer(h, r, 200, nil, &m)
		g.WriteTrailer(h, r, 200, nil, nil)
		assert.Empty(t, h)
		m = overload.Metrics{}
		g.WriteReport(h, nil, &m)
		time.Sleep(time.Minute)
		g.WriteTrailer(h, r, 200, nil, &m)
		assert.Equal(t, []string{"TEXT named_metrics.lim=7"}, h[http.TrailerPrefix+endpoint.LoadReportHeader])
		h = http.Header{}
		g.WriteTrailer(h, r, 200, nil, &m)
		assert.Empty(t, h)
	})
}
