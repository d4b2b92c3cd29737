package telemetry_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/oteltest"
	"github.com/tulle-mesh/tulle/telemetry"
	"github.com/tulle-mesh/tulle/tulletest"
)

func TestServerMiddleware(t *testing.T) {
	traces, meters, out := &oteltest.Traces{}, &oteltest.Metrics{}, &bytes.Buffer{}
	s := server(t, telemetry.Options{Tracers: traces, Meters: meters, AccessLog: slog.New(slog.NewTextHandler(out, nil))})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reviews/{id}", func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, traces.Spans()[0].SpanContext().TraceID().String(), "0af7651916cd43dd8448eb211c80319c")
		r.Method, r.URL.Path = "PUT", "/elsewhere" // as some programs do
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "words")
	})
	r := incoming("POST", "/reviews/7")
	r.Header.Set("Traceparent", stale)
	w := httptest.NewRecorder()
	trust := identity.Trust{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	s.Middleware(trust)(mux).ServeHTTP(w, r)
	assert.Equal(t, 201, w.Code)
	span := traces.Spans()[0]
	assert.Equal(t, "POST /reviews/{id}", span.LastName())
	assert.Equal(t, "b7ad6b7169203331", span.Parent.SpanID().String())
	assert.Equal(t, 1, span.Ended())
	assert.Len(t, meters.Recorded("http.server.request.duration"), 1)
	seen, err := meters.Collect()
	require.NoError(t, err)
	assert.Equal(t, map[string]float64{"http.server.active_requests{http.request.method=POST,url.scheme=http}": 0}, seen)
	assert.Contains(t, out.String(), "direction=inbound method=POST")
	assert.Contains(t, out.String(), "status=201 route=/reviews/{id} peer=192.0.2.7 bytes=5")
}

// Principals are those that whoever verified them has put into the context.
func TestServerMiddlewareTrustsPrincipals(t *testing.T) {
	for name, want := range map[string]bool{"spiffe://td/shop": true, "spiffe://td/other": false} {
		traces := &oteltest.Traces{}
		h := server(t, telemetry.Options{Tracers: traces}).Middleware(identity.Trust{Principals: []string{"spiffe://td/shop"}})(http.NotFoundHandler())
		r := incoming("GET", "/")
		r.Header.Set("Traceparent", stale)
		ctx := identity.NewContext(r.Context(), identity.Principal{Kind: identity.Certificate, Name: name})
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
		assert.Equal(t, want, traces.Spans()[0].Parent.IsValid(), name)
		assert.Equal(t, "certificate", traces.Spans()[0].Attributes()["tulle.principal"])
	}
}

// Whatever the handler does, its span is ended once and says what was wrong.
func TestServerMiddlewareEndsSpansOnce(t *testing.T) {
	for name, row := range map[string]struct {
		next  http.HandlerFunc
		fault string
	}{
		"fine":   {func(http.ResponseWriter, *http.Request) {}, ""},
		"error":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, "502"},
		"panic":  {func(http.ResponseWriter, *http.Request) { panic("plugged in") }, "panic"},
		"abort":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "panic"},
		"broken": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "half"); panic(1) }, "panic"},
	} {
		traces, meters, out := &oteltest.Traces{}, &oteltest.Metrics{}, &bytes.Buffer{}
		s := server(t, telemetry.Options{Tracers: traces, Meters: meters, AccessLog: slog.New(slog.NewTextHandler(out, nil))})
		func() {
			defer func() { assert.Equal(t, row.fault == "panic", recover() != nil, name) }()
			s.Middleware(identity.Trust{})(row.next).ServeHTTP(httptest.NewRecorder(), incoming("GET", "/"))
		}()
		require.Len(t, traces.Spans(), 1, name)
		assert.Equal(t, 1, traces.Spans()[0].Ended(), name)
		assert.Equal(t, row.fault, traces.Spans()[0].Attributes()["error.type"], name)
		assert.Equal(t, row.fault != "", strings.Contains(out.String(), "level=WARN"), name)
		seen, err := meters.Collect()
		require.NoError(t, err)
		assert.Equal(t, map[string]float64{"http.server.active_requests{http.request.method=GET,url.scheme=http}": 0}, seen, name)
	}
}

func TestServerMiddlewareConforms(t *testing.T) {
	for name, o := range map[string]telemetry.Options{
		"all":     {Tracers: &oteltest.Traces{}, Meters: &oteltest.Metrics{}, AccessLog: slog.New(slog.DiscardHandler)},
		"nothing": {},
	} {
		t.Run(name, func(t *testing.T) { tulletest.TestHandler(t, server(t, o).Middleware(identity.Trust{})) })
	}
}
