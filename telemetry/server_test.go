package telemetry_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/oteltest"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/telemetry"
)

func server(t testing.TB, o telemetry.Options) *telemetry.Server {
	t.Helper()
	r, err := telemetry.New(o)
	require.NoError(t, err)
	return r.Server()
}

// incoming returns a request as net/http's server makes it.
func incoming(method, target string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	r.Method = method
	r.RemoteAddr = "192.0.2.7:4711"
	return r
}

func TestServerSpan(t *testing.T) {
	traces, meters := &oteltest.Traces{}, &oteltest.Metrics{}
	s := server(t, telemetry.Options{Tracers: traces, Meters: meters})
	r := incoming("GET", "/reset/geheim/a?token=geheim&page=1")
	r.Host, r.TLS = "shop.test:8443", &tls.ConnectionState{}
	r.Header.Set("User-Agent", "anna's browser")
	ctx := s.Start(r.Context(), r, false)
	span := traces.Spans()[0]
	assert.Equal(t, "GET", span.LastName(), "the pattern is not known yet")
	s.Done(ctx, telemetry.Served{
		Request: r, Pattern: "GET shop.test/reset/{token}/{$}", Rule: "public", Status: 200, Principal: identity.Token,
		Duration: 250 * time.Millisecond,
	})
	assert.Equal(t, 1, span.Ended())
	assert.Equal(t, trace.SpanKindServer, span.Kind)
	assert.Equal(t, "GET /reset/{token}/{$}", span.LastName())
	assert.Equal(t, map[string]string{
		"http.request.method": "GET", "url.scheme": "https", "url.path": "/reset/REDACTED/a", "url.query": "token=REDACTED&page=1",
		"server.address": "shop.test", "server.port": "8443", "client.address": "192.0.2.7",
		"network.peer.address": "192.0.2.7", "network.peer.port": "4711", "network.protocol.version": "1.1",
		"http.route": "/reset/{token}/{$}", "http.response.status_code": "200", "tulle.rule": "public", "tulle.principal": "token",
	}, span.Attributes())
	assert.Equal(t, []oteltest.Value{{
		Name:       "http.server.request.duration",
		Attributes: "http.request.method=GET,http.response.status_code=200,http.route=/reset/{token}/{$},url.scheme=https",
		Value:      .25, Trace: span.SpanContext().TraceID(),
	}}, meters.Recorded("http.server.request.duration"))
	assert.Equal(t, "s", meters.Units()["http.server.request.duration"])
}

// A handler behind the mux is known by its pattern from the start.
func TestServerSpanOfAKnownPattern(t *testing.T) {
	traces := &oteltest.Traces{}
	s := server(t, telemetry.Options{Tracers: traces})
	r := incoming("BREW", "/pots/7")
	r.Pattern = "/pots/{id}"
	s.Done(s.Start(r.Context(), r, false), telemetry.Served{Request: r, Pattern: r.Pattern, Status: 418})
	span := traces.Spans()[0]
	assert.Equal(t, "HTTP /pots/{id}", span.Name)
	assert.Equal(t, "_OTHER", span.Attributes()["http.request.method"])
	assert.Equal(t, "BREW", span.Attributes()["http.request.method_original"])
	assert.Equal(t, "/pots/{id}", span.Attributes()["http.route"])
}

func TestServedErrorTypes(t *testing.T) {
	for _, row := range []struct {
		status   int
		reason   outcome.Reason
		panicked bool
		want     string
	}{
		{200, 0, false, ""},
		{404, 0, false, ""},
		{429, outcome.RateLimited, false, ""},
		{500, 0, false, "500"},
		{502, 0, false, "502"},
		{503, outcome.Overloaded, false, "overloaded"},
		{500, outcome.Internal, true, "panic"},
		{200, 0, true, "panic"}, // in the middle of the body
		{0, 0, true, "panic"},
	} {
		traces, meters := &oteltest.Traces{}, &oteltest.Metrics{}
		s := server(t, telemetry.Options{Tracers: traces, Meters: meters})
		r := incoming("GET", "/")
		s.Done(s.Start(r.Context(), r, false), telemetry.Served{Request: r, Status: row.status, Reason: row.reason, Panicked: row.panicked})
		span := traces.Spans()[0]
		assert.Equal(t, row.want, span.Attributes()["error.type"], "%+v", row)
		code, text := span.Status()
		assert.Equal(t, row.want != "", code == codes.Error, "%+v", row)
		assert.Empty(t, text)
		assert.Equal(t, row.want, value(meters.Recorded("http.server.request.duration")[0], "error.type"), "%+v", row)
		if row.status == 0 {
			assert.NotContains(t, span.Attributes(), "http.response.status_code")
		}
	}
}

// The trace of a trusted peer goes on, with its baggage; a stranger decides
// neither which trace a request belongs to nor whether it is sampled.
func TestWhoseTraceGoesOn(t *testing.T) {
	for _, row := range []struct {
		name            string
		trusted, linked bool
		traceparent     string
		parent          string
	}{
		{name: "trusted", trusted: true, traceparent: stale, parent: "b7ad6b7169203331"},
		{name: "stranger", linked: true, traceparent: stale},
		{name: "stranger who is not sampled", linked: true, traceparent: strings.TrimSuffix(stale, "01") + "00"},
		{name: "trusted without", trusted: true},
		{name: "stranger without"},
		{name: "trusted and broken", trusted: true, traceparent: "00-xyz"},
		{name: "stranger and broken", traceparent: "00-xyz"},
	} {
		t.Run(row.name, func(t *testing.T) {
			traces := &oteltest.Traces{}
			s := server(t, telemetry.Options{Tracers: traces})
			r := incoming("GET", "/")
			if row.traceparent != "" {
				r.Header.Set("Traceparent", row.traceparent)
			}
			r.Header.Set("Baggage", "tenant=a")
			ctx := s.Start(r.Context(), r, row.trusted)
			require.Len(t, traces.Spans(), 1, "sampled")
			span := traces.Spans()[0]
			assert.Equal(t, span.SpanContext(), trace.SpanContextFromContext(ctx))
			if row.parent == "" {
				assert.False(t, span.Parent.IsValid())
				assert.NotEqual(t, "0af7651916cd43dd8448eb211c80319c", span.SpanContext().TraceID().String())
			} else {
				assert.Equal(t, row.parent, span.Parent.SpanID().String())
				assert.Equal(t, "0af7651916cd43dd8448eb211c80319c", span.SpanContext().TraceID().String())
			}
			if row.linked {
				require.Len(t, span.Links, 1)
				assert.Equal(t, "b7ad6b7169203331", span.Links[0].SpanContext.SpanID().String())
			} else {
				assert.Empty(t, span.Links)
			}
			want := 0
			if row.trusted {
				want = 1
			}
			assert.Equal(t, want, baggage.FromContext(ctx).Len(), "members of the baggage")
		})
	}
}

// What instruments the server around this goes before the header.
func TestATraceInTheContextGoesOn(t *testing.T) {
	traces := &oteltest.Traces{}
	s := server(t, telemetry.Options{Tracers: traces})
	outer, mine := traces.Tracer("").Start(t.Context(), "outer")
	for _, trusted := range []bool{true, false} {
		r := incoming("GET", "/")
		r.Header.Set("Traceparent", stale)
		s.Done(s.Start(outer, r, trusted), telemetry.Served{Request: r, Status: 200})
		span := traces.Spans()[len(traces.Spans())-1]
		assert.Equal(t, mine.SpanContext(), span.Parent)
		assert.Empty(t, span.Links)
	}
	assert.Zero(t, traces.Spans()[0].Ended(), "another's span was ended")
}

// With a propagator alone traces go through a process that makes no spans.
func TestServerWithoutTracer(t *testing.T) {
	out := &bytes.Buffer{}
	s := server(t, telemetry.Options{Propagator: propagation.TraceContext{}, AccessLog: slog.New(slog.NewTextHandler(out, nil))})
	r := incoming("GET", "/")
	r.Header.Set("Traceparent", stale)
	ctx := s.Start(r.Context(), r, true)
	s.Done(ctx, telemetry.Served{Request: r, Status: 200})
	assert.Equal(t, "b7ad6b7169203331", trace.SpanContextFromContext(ctx).SpanID().String())
	assert.Contains(t, out.String(), "trace_id=0af7651916cd43dd8448eb211c80319c")
	assert.Equal(t, r.Context(), s.Start(r.Context(), r, false), "a stranger's")
}

// A program that makes patterns of requests, and peers that make up methods,
// fill no memory.
func TestSeriesOfServersAreBounded(t *testing.T) {
	meters := &oteltest.Metrics{}
	s := server(t, telemetry.Options{Meters: meters})
	for i := range 3000 {
		r := incoming(fmt.Sprintf("M%d", i), "/")
		s.Done(s.Start(r.Context(), r, false), telemetry.Served{Request: r, Pattern: fmt.Sprintf("/users/%d", i), Status: 200})
	}
	kinds := map[string]int{}
	for _, v := range meters.Recorded("http.server.request.duration") {
		kinds[v.Attributes]++
	}
	assert.Len(t, kinds, 1024+1)
	assert.Equal(t, 3000-1024, kinds["otel.metric.overflow=true"])
	seen, err := meters.Collect()
	require.NoError(t, err)
	assert.Equal(t, map[string]float64{"http.server.active_requests{http.request.method=_OTHER,url.scheme=http}": 0}, seen)
}

func TestActiveRequests(t *testing.T) {
	meters := &oteltest.Metrics{}
	s := server(t, telemetry.Options{Meters: meters})
	first, second := incoming("GET", "/"), incoming("POST", "/")
	second.TLS = &tls.ConnectionState{}
	active := func() map[string]float64 {
		seen, err := meters.Collect()
		require.NoError(t, err)
		return seen
	}
	assert.Empty(t, active(), "a process that serves nothing")
	s.Start(first.Context(), first, false)
	s.Start(first.Context(), first, false)
	ctx := s.Start(second.Context(), second, false)
	get, post := "http.server.active_requests{http.request.method=GET,url.scheme=http}", "http.server.active_requests{http.request.method=POST,url.scheme=https}"
	assert.Equal(t, map[string]float64{get: 2, post: 1}, active())
	s.Done(ctx, telemetry.Served{Request: second, Status: 200})
	assert.Equal(t, map[string]float64{get: 2, post: 0}, active())
}

func TestServerAccessLog(t *testing.T) {
	for _, row := range []struct {
		served telemetry.Served
		want   string
	}{
		{
			telemetry.Served{Pattern: "GET /reset/{token}", Rule: "public", Status: 200, Bytes: 5, Principal: identity.Token, Duration: 1500 * time.Microsecond},
			"level=INFO msg=call direction=inbound method=GET host=shop.test path=/reset/REDACTED status=200 route=/reset/{token} rule=public peer=192.0.2.7 principal=token bytes=5 duration=1.5ms",
		},
		{
			telemetry.Served{Status: 429, Reason: outcome.RateLimited},
			"level=INFO msg=call direction=inbound method=GET host=shop.test path=/reset/geheim status=429 reason=rate_limited peer=192.0.2.7 bytes=0 duration=0s",
		},
		{
			telemetry.Served{Status: 503, Reason: outcome.Overloaded},
			"level=WARN msg=call direction=inbound method=GET host=shop.test path=/reset/geheim status=503 reason=overloaded peer=192.0.2.7 bytes=0 duration=0s",
		},
		{
			telemetry.Served{Panicked: true},
			"level=WARN msg=call direction=inbound method=GET host=shop.test path=/reset/geheim panicked=true peer=192.0.2.7 bytes=0 duration=0s",
		},
	} {
		out := &bytes.Buffer{}
		s := server(t, telemetry.Options{AccessLog: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))})
		row.served.Request = incoming("GET", "/reset/geheim?token=geheim")
		row.served.Request.Host = "shop.test"
		row.served.Request.Header.Set("Authorization", "geheim")
		s.Done(context.Background(), row.served)
		assert.Equal(t, row.want+"\n", out.String())
	}
}

// What a peer sends is shown as far as there is use for it, and never as what
// exporters cannot write.
func TestWhatPeersSendIsBounded(t *testing.T) {
	traces, out := &oteltest.Traces{}, &bytes.Buffer{}
	s := server(t, telemetry.Options{Tracers: traces, AccessLog: slog.New(slog.NewJSONHandler(out, nil))})
	long := strings.Repeat("a", 1<<20)
	r := incoming(long, "/"+long+"?a=\xff&b="+long)
	r.Host = long
	s.Done(s.Start(r.Context(), r, false), telemetry.Served{Request: r, Status: 200})
	for name, v := range traces.Spans()[0].Attributes() {
		assert.LessOrEqual(t, len(v), 1024+8, name)
	}
	assert.Equal(t, "a=\uFFFD&b=a", traces.Spans()[0].Attributes()["url.query"][:9])
	assert.Less(t, out.Len(), 5000)
}

// A nil Recorder has no server, and that records nothing.
func TestNoServer(t *testing.T) {
	var none *telemetry.Recorder
	s := none.Server()
	r := incoming("GET", "/")
	assert.Equal(t, r.Context(), s.Start(r.Context(), r, true))
	s.Done(r.Context(), telemetry.Served{Request: r})
	h := http.NewServeMux()
	assert.Same(t, h, s.Middleware(identity.Trust{})(h))
}
