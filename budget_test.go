//go:build !race

package tulle_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/routing"
)

// What a call may allocate beyond what the bare transport does. The figures
// are promises: a change that exceeds one finds another way.
func TestAllocationBudgets(t *testing.T) {
	edit := routing.Filters{Request: routing.HeaderEdit{Set: []routing.Field{{Name: "X-Env", Value: "prod"}}}}
	everything := []match.Request{{Hosts: []string{"reviews"}, Path: match.Path{Prefix: "/"}}}
	for _, row := range []struct {
		name   string
		config func(*tulle.Config)
		opts   []tulle.Option
		ctx    func() (context.Context, context.CancelFunc)
		body   bool
		fields int
		allocs float64
		bytes  uint64
	}{
		{name: "unknown host", config: func(c *tulle.Config) { *c = tulle.Config{} }, allocs: 0, bytes: 0},
		{name: "A: route, pick, retry armed", allocs: 1, bytes: 1024},
		{name: "A: with a body", body: true, allocs: 1, bytes: 1024},
		{name: "A: with a route", config: func(c *tulle.Config) {
			c.Routes = []tulle.Route{{Name: "r", Match: everything, Split: []tulle.Destination{{Service: "reviews"}}}}
		}, allocs: 1, bytes: 1024},
		{name: "A: over two zones", config: func(c *tulle.Config) {
			c.Zone, c.Services[0].Spread.Zones = "a", balancer.NearestZone
			c.Services[0].Resolver = discovery.NewStatic(endpoint.Info{Addr: "10.0.0.1:80", Zone: "a"}, endpoint.Info{Addr: "10.0.0.2:80", Zone: "b"})
		}, allocs: 1, bytes: 1024},
		{name: "A: with attempt middleware", opts: []tulle.Option{tulle.WithAttemptMiddleware(through)}, allocs: 1, bytes: 1024},
		{name: "A: with metrics", opts: []tulle.Option{tulle.WithMeterProvider(noop.NewMeterProvider())}, allocs: 1, bytes: 1024},
		{name: "B: deadline told, up to 8 fields", ctx: withDeadline, fields: 7, allocs: 1 + 3, bytes: 1024 + 512},
		{name: "B: deadline told, up to 23 fields", ctx: withDeadline, fields: 22, allocs: 1 + 5, bytes: 1024 + 1638},
		{name: "B: header edited", config: func(c *tulle.Config) {
			c.Routes = []tulle.Route{{Name: "r", Match: everything, Filters: edit}}
		}, fields: 7, allocs: 1 + 3, bytes: 1024 + 512},
		{name: "C: time-out earlier than the caller's", config: func(c *tulle.Config) {
			c.Policies.Timeout = time.Minute
			c.Services[0].External = true // the deadline is not told
		}, allocs: 1 + 5, bytes: 1024 + 400},
		{name: "A+B+C", config: func(c *tulle.Config) { c.Policies.Timeout = time.Minute }, fields: 7, allocs: 9, bytes: 2048},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := one("10.0.0.1:80", "10.0.0.2:80")
			// All that a call can be subject to.
			c.Policies = tulle.Policies{
				Retry: &retry.Policy{}, Outliers: &health.Outliers{}, Limit: &breaker.Limit{},
				Breaker: &breaker.Policy{SlowCall: time.Second}, EndpointBreaker: &breaker.Policy{Consecutive: 5},
			}
			if row.config != nil {
				row.config(&c)
			}
			rt := nullMesh(t, c, row.opts...)
			ctx, cancel := context.Background(), context.CancelFunc(func() {})
			if row.ctx != nil {
				ctx, cancel = row.ctx()
			}
			defer cancel()
			req := newRequest(ctx, row.body, row.fields)
			allocs, bytes := cost(func() { consume(t, null{}, req) })
			a, b := cost(func() { consume(t, rt, req) })
			t.Logf("+%v allocations, +%d bytes", a-allocs, int64(b)-int64(bytes))
			require.LessOrEqual(t, a, allocs+row.allocs, "allocations")
			// A collection in between may add a few bytes of its own.
			require.LessOrEqual(t, b, bytes+row.bytes+16, "bytes")
		})
	}
}

func withDeadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Hour)
}

// cost returns what f allocates on average.
func cost(f func()) (allocs float64, bytes uint64) {
	const runs = 2000
	var before, after runtime.MemStats
	allocs = testing.AllocsPerRun(runs, f)
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return allocs, (after.TotalAlloc - before.TotalAlloc) / runs
}

// null answers at once, with one allocation of its own.
type null struct{}

func (null) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	return &http.Response{StatusCode: 200, Header: nil, Body: io.NopCloser(empty), ContentLength: 0, Request: r}, nil
}

var empty = strings.NewReader("")

// nullMesh returns a mesh whose endpoints and unknown hosts are null.
func nullMesh(t testing.TB, c tulle.Config, opts ...tulle.Option) http.RoundTripper {
	t.Helper()
	opts = append(opts, tulle.WithTransport(null{}), tulle.WithAttemptMiddleware(func(http.RoundTripper) http.RoundTripper { return null{} }))
	m, err := tulle.New(c, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Shutdown(context.Background()) })
	require.NoError(t, m.Ready(t.Context()))
	rt := m.Transport()
	consume(t, rt, newRequest(t.Context(), false, 0)) // the first call may wait for its endpoints
	return rt
}

func newRequest(ctx context.Context, body bool, fields int) *http.Request {
	method, r := "GET", io.Reader(nil)
	if body {
		method, r = "POST", strings.NewReader("some words")
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://reviews/a/path", r)
	if err != nil {
		panic(err)
	}
	for i := range fields {
		req.Header.Set(fmt.Sprintf("X-Field-%d", i), "value")
	}
	return req
}

func consume(t testing.TB, rt http.RoundTripper, req *http.Request) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	var buf [16]byte
	for {
		if _, err := resp.Body.Read(buf[:]); err != nil {
			break
		}
	}
	resp.Body.Close()
}

// What a request may allocate beyond what the bare handler does.
func TestInboundAllocationBudgets(t *testing.T) {
	few := ratelimit.Policy{Requests: 1 << 30, Key: ratelimit.Key{Source: true}}
	allow := &authz.Policy{Rules: []authz.Rule{{Name: "get", Action: authz.Allow, To: []authz.Operation{{Methods: []string{"GET"}}}}}}
	rules := []tulle.Rule{{Name: "r", Match: []match.Request{{Path: match.Path{Prefix: "/a"}, Methods: []string{"GET"}}}}}
	for _, row := range []struct {
		name    string
		inbound tulle.Inbound
		body    bool
		header  http.Header
		allocs  float64
		bytes   uint64
	}{
		{name: "wrap", allocs: 2, bytes: 768},
		{name: "wrap, with a rule", inbound: tulle.Inbound{Rules: rules}, allocs: 2, bytes: 768},
		{name: "wrap, with limits and authorization", inbound: tulle.Inbound{
			Rules: rules, InFlight: &breaker.Limit{}, Strip: []string{"X-User"},
			Guard: tulle.Guard{RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{few}}, Authz: allow},
		}, allocs: 2, bytes: 768},
		{name: "wrap, guarded without report", inbound: tulle.Inbound{Overload: &overload.Policy{MaxInFlight: 100, NoReport: true}}, allocs: 2, bytes: 768},
		{name: "wrap, guarded with load report", inbound: tulle.Inbound{Overload: &overload.Policy{MaxInFlight: 100}}, allocs: 2 + 1, bytes: 768 + 160},
		{
			name: "wrap, guarded, with a word of room", inbound: tulle.Inbound{Overload: &overload.Policy{MaxInFlight: 100}},
			// The handler gets a header without it.
			header: http.Header{"Tulle-Call": {"r=3"}}, allocs: 2 + 1 + 2, bytes: 768 + 160 + 432,
		},
		{name: "wrap, everything but a deadline and a token", inbound: tulle.Inbound{
			Rules: rules, InFlight: &breaker.Limit{}, Strip: []string{"X-User"}, Overload: &overload.Policy{MaxInFlight: 100},
			Guard: tulle.Guard{RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{few}}, Authz: allow},
		}, allocs: 2 + 1, bytes: 768 + 160},
		{name: "wrap, with a body limit", inbound: tulle.Inbound{Guard: tulle.Guard{Body: &tulle.BodyLimit{MaxBytes: 100}}}, body: true, allocs: 2, bytes: 768},
		{name: "deadline of the caller", header: http.Header{"Tulle-Call": {"d=10000"}}, allocs: 2 + 4, bytes: 768 + 400},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := inbound(t, row.inbound)
			next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
			r := newRequest(t.Context(), row.body, 4)
			r.RemoteAddr = "192.0.2.1:1234"
			maps.Copy(r.Header, row.header)
			w := &nullWriter{header: http.Header{}}
			serve := func(h http.Handler) func() {
				return func() {
					clear(w.header)
					h.ServeHTTP(w, r)
				}
			}
			wrapped := m.Handler(next)
			serve(wrapped)()
			require.Equal(t, http.StatusNoContent, w.status)
			allocs, bytes := cost(serve(next))
			a, b := cost(serve(wrapped))
			t.Logf("+%v allocations, +%d bytes", a-allocs, int64(b)-int64(bytes))
			require.LessOrEqual(t, a, allocs+row.allocs, "allocations")
			require.LessOrEqual(t, b, bytes+row.bytes+16, "bytes")
		})
	}
}

// nullWriter has the methods of net/http's own.
type nullWriter struct {
	header http.Header
	status int
}

func (w *nullWriter) Header() http.Header               { return w.header }
func (w *nullWriter) Write(p []byte) (int, error)       { return len(p), nil }
func (w *nullWriter) WriteString(s string) (int, error) { return len(s), nil }
func (w *nullWriter) WriteHeader(status int)            { w.status = status }
func (w *nullWriter) Flush()                            {}
func (w *nullWriter) FlushError() error                 { return nil }

func (w *nullWriter) ReadFrom(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) }
func (w *nullWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrNotSupported
}
