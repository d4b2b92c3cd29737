package telemetry_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle/internal/oteltest"
	"github.com/tulle-mesh/tulle/telemetry"
	"github.com/tulle-mesh/tulle/tulletest"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestMiddleware(t *testing.T) {
	traces, meters, out := &oteltest.Traces{}, &oteltest.Metrics{}, &bytes.Buffer{}
	s := scope(t, telemetry.Options{Tracers: traces, Meters: meters, AccessLog: slog.New(slog.NewTextHandler(out, nil))})
	var sent *http.Request
	rt := s.Middleware(roundTripper(func(r *http.Request) (*http.Response, error) {
		sent = r
		resp := response(200)
		resp.Body = io.NopCloser(strings.NewReader("words"))
		return resp, nil
	}))
	in := request("GET", "http://reviews.test/a")
	in.Header.Set("Traceparent", stale)
	resp, err := rt.RoundTrip(in)
	require.NoError(t, err)
	assert.Same(t, in, resp.Request)
	assert.Equal(t, stale, in.Header.Get("Traceparent"), "the caller's header has been written to")
	span := traces.Spans()[0]
	assert.Equal(t, trace.SpanKindClient, span.Kind)
	assert.Equal(t, "b7ad6b7169203331", span.Parent.SpanID().String())
	assert.Equal(t, []string{"00-0af7651916cd43dd8448eb211c80319c-" + span.SpanContext().SpanID().String() + "-01"}, sent.Header["Traceparent"])
	assert.Len(t, meters.Recorded("http.client.request.duration"), 1)
	assert.Zero(t, span.Ended(), "the body has not ended")
	assert.Empty(t, out.String())
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	assert.Equal(t, 1, span.Ended())
	assert.Equal(t, 1, strings.Count(out.String(), "msg=call"))
	assert.Contains(t, out.String(), "status=200 service=reviews")
}

func TestMiddlewareEndsSpansOnce(t *testing.T) {
	broken := errors.New("reset")
	for name, next := range map[string]roundTripper{
		"reset":   func(*http.Request) (*http.Response, error) { return nil, broken },
		"panic":   func(*http.Request) (*http.Response, error) { panic("plugged in") },
		"neither": func(*http.Request) (*http.Response, error) { return nil, nil },
		"broken body: reset": func(*http.Request) (*http.Response, error) {
			resp := response(200)
			resp.Body = io.NopCloser(&brokenReader{broken})
			return resp, nil
		},
	} {
		traces, out := &oteltest.Traces{}, &bytes.Buffer{}
		s := scope(t, telemetry.Options{Tracers: traces, AccessLog: slog.New(slog.NewTextHandler(out, nil))})
		func() {
			defer func() { _ = recover() }()
			resp, err := s.Middleware(next).RoundTrip(request("GET", "http://reviews.test/"))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}()
		require.Len(t, traces.Spans(), 1, name)
		assert.Equal(t, 1, traces.Spans()[0].Ended(), name)
		assert.NotEmpty(t, traces.Spans()[0].Attributes()["error.type"], name)
		assert.Equal(t, 1, strings.Count(out.String(), "level=WARN"), name)
	}
}

type brokenReader struct{ err error }

func (r *brokenReader) Read([]byte) (int, error) { return 0, r.err }

func TestMiddlewareConforms(t *testing.T) {
	for name, o := range map[string]telemetry.Options{
		"all but propagation": {Tracers: &oteltest.Traces{}, Propagator: propagation.NewCompositeTextMapPropagator(), Meters: &oteltest.Metrics{}, AccessLog: slog.New(slog.DiscardHandler)},
		"metrics":             {Meters: &oteltest.Metrics{}},
		"nothing":             {},
	} {
		t.Run(name, func(t *testing.T) { tulletest.TestRoundTripper(t, scope(t, o).Middleware) })
	}
}
