//go:build !race

package tulle_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/internal/oteltest"
)

// nothingWriter is a ResponseWriter that costs nothing.
type nothingWriter struct{ header http.Header }

func (w nothingWriter) Header() http.Header         { return w.header }
func (w nothingWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w nothingWriter) WriteHeader(int)             {}

// Metrics add nothing to what a request costs, and telemetry that nobody asked
// for has no way to.
func TestInboundMetricsCostNothing(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /reviews", func(http.ResponseWriter, *http.Request) {})
	r := httptest.NewRequest("GET", "/reviews", nil)
	w := nothingWriter{http.Header{}}
	through := func(opts ...tulle.Option) (allocs float64, bytes uint64) {
		m, err := tulle.New(tulle.Config{}, opts...)
		require.NoError(t, err)
		defer m.Shutdown(t.Context())
		h := m.Handler(mux)
		return cost(func() { h.ServeHTTP(w, r) })
	}
	bare, _ := cost(func() { mux.ServeHTTP(w, r) })
	allocs, bytes := through()
	require.LessOrEqual(t, allocs, bare+2)
	watched, watchedBytes := through(tulle.WithMeterProvider(noop.NewMeterProvider()))
	require.Equal(t, allocs, watched)
	// A collection in between may add a few bytes of its own.
	require.LessOrEqual(t, watchedBytes, bytes+16)
	traced, _ := through(tulle.WithTracerProvider(&oteltest.Traces{Unsampled: true}))
	require.Greater(t, traced, allocs, "this test sees nothing")
}

// A peer with a certificate costs a place for its name in the context, over
// every connection that it makes.
func TestPeersCostNothing(t *testing.T) {
	h := inbound(t, tulle.Inbound{}).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w := nothingWriter{http.Header{}}
	der := newIssuer(t).certificate(t, 2, "peer.example.org")
	anyone := httptest.NewRequest(http.MethodGet, "/", nil)
	first, second := shown(t, der), shown(t, der)
	bare, _ := cost(func() { h.ServeHTTP(w, anyone) })
	known, _ := cost(func() {
		h.ServeHTTP(w, first)
		h.ServeHTTP(w, second)
	})
	require.LessOrEqual(t, known, 2*(bare+2))
	made := httptest.NewRequest(http.MethodGet, "/", nil)
	certified("spiffe://a/b")(made)
	unknown, _ := cost(func() { h.ServeHTTP(w, made) })
	require.Greater(t, unknown, bare+2, "this test sees nothing")
}
