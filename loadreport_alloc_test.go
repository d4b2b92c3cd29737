//go:build !race

package tulle_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/overload"
)

// usualReport is as long as they get on a busy server.
const usualReport = "TEXT cpu_utilization=0.734,rps_fractional=1234,eps=2.5,named_metrics.rif=17,named_metrics.lim=64,named_metrics.ms=8.25"

// answering answers at once, with a header and trailers of its own each time.
type answering struct{ header, trailer []string }

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(empty), Request: r}
	resp.Header["Content-Type"] = nil
	if a.header != nil {
		resp.Header[endpoint.LoadReportHeader] = a.header
	}
	if a.trailer != nil {
		resp.Trailer = http.Header{}
		resp.Body = &late{resp, a.trailer}
	}
	return resp, nil
}

// late is an empty body with trailers.
type late struct {
	resp    *http.Response
	trailer []string
}

func (l *late) Close() error { return nil }
func (l *late) Read([]byte) (int, error) {
	if l.trailer != nil {
		l.resp.Trailer[endpoint.LoadReportHeader] = l.trailer
		l.trailer = nil
	}
	return 0, io.EOF
}

func answeringMesh(t testing.TB, a answering, p balancer.Policy) http.RoundTripper {
	c := one("10.0.0.1:80", "10.0.0.2:80")
	c.Services[0].Balancer = p
	m, err := tulle.New(c, tulle.WithAttemptMiddleware(func(http.RoundTripper) http.RoundTripper { return a }))
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Shutdown(context.Background()) })
	require.NoError(t, m.Ready(t.Context()))
	consume(t, m.Transport(), newRequest(t.Context(), false, 0))
	return m.Transport()
}

// A load report costs the caller one allocation, where it is kept, and one more
// if another comes in the trailers.
func TestLoadReportBudget(t *testing.T) {
	report := []string{usualReport}
	for name, row := range map[string]struct {
		answer answering
		allocs float64
		bytes  uint64
	}{
		"none":         {answering{}, 1, 1024},
		"header":       {answering{header: report}, 1 + 1, 1024 + 128},
		"trailer":      {answering{trailer: report}, 1 + 1, 1024 + 128},
		"both":         {answering{header: report, trailer: report}, 1 + 2, 1024 + 256},
		"another form": {answering{header: []string{"BIN AA=="}}, 1 + 2, 1024 + 128}, // the error, and when
	} {
		t.Run(name, func(t *testing.T) {
			rt, req := answeringMesh(t, row.answer, balancer.LoadFed{SendBack: -1}), newRequest(t.Context(), false, 0)
			allocs, bytes := cost(func() { consume(t, row.answer, req) })
			a, b := cost(func() { consume(t, rt, req) })
			t.Logf("+%v allocations, +%d bytes", a-allocs, int64(b)-int64(bytes))
			require.LessOrEqual(t, a, allocs+row.allocs, "allocations")
			require.LessOrEqual(t, b, bytes+row.bytes+16, "bytes")
		})
	}
}

// To say how much is expected costs a call a header of its own, where it has
// none for its deadline.
func TestRoomBudget(t *testing.T) {
	for name, row := range map[string]struct {
		timeout time.Duration
		allocs  float64
		bytes   uint64
	}{
		"without a deadline": {0, 2, 432},
		"with a deadline":    {time.Minute, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if row.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, row.timeout)
				defer cancel()
			}
			of := func(room int) (float64, uint64) {
				rt, req := answeringMesh(t, answering{}, wary{room, new(told)}), newRequest(ctx, false, 4)
				return cost(func() { consume(t, rt, req) })
			}
			allocs, bytes := of(0)
			a, b := of(7)
			t.Logf("+%v allocations, +%d bytes", a-allocs, int64(b)-int64(bytes))
			require.LessOrEqual(t, a, allocs+row.allocs, "allocations")
			require.LessOrEqual(t, b, bytes+row.bytes+16, "bytes")
		})
	}
}

// BenchmarkLoadReport tells what a report costs at either end: written on a
// response; parsed, kept and taken out of another.
func BenchmarkLoadReport(b *testing.B) {
	for name, a := range map[string]answering{"caller without": {}, "caller": {header: []string{usualReport}}} {
		b.Run(name, func(b *testing.B) {
			rt, req := answeringMesh(b, a, balancer.LoadFed{SendBack: -1}), newRequest(b.Context(), false, 0)
			b.ReportAllocs()
			for b.Loop() {
				consume(b, rt, req)
			}
		})
	}
	for name, p := range map[string]overload.Policy{"server without": {NoReport: true}, "server": {}} {
		b.Run(name, func(b *testing.B) {
			p.MaxInFlight = 100
			m, err := tulle.New(tulle.Config{Inbound: tulle.Inbound{Overload: &p}})
			require.NoError(b, err)
			defer func() { _ = m.Shutdown(context.Background()) }()
			h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			r, w := newRequest(b.Context(), false, 4), &nullWriter{header: http.Header{}}
			r.RemoteAddr = "192.0.2.1:1234"
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
		})
	}
}
