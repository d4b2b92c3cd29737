//go:build linux

package otel_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/discovery"
)

// watched is a mesh of the one service reviews, watched by the SDK.
type watched struct {
	*testing.T
	mesh  *tulle.Mesh
	spans *tracetest.InMemoryExporter
	read  *sdkmetric.ManualReader
}

func watch(t *testing.T, addr string, sampler sdktrace.Sampler) watched {
	t.Helper()
	w := watched{t, nil, tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()}
	m, err := tulle.New(tulle.Config{
		Services: []tulle.Service{{Name: "reviews", Resolver: discovery.Addrs(addr)}}, Policies: tulle.Recommended(),
	},
		tulle.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans), sdktrace.WithSampler(sampler))),
		tulle.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.read))))
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Shutdown(context.Background()) })
	w.mesh = m
	return w
}

func (w watched) get() {
	w.Helper()
	resp, err := w.mesh.Client().Get("http://reviews/")
	require.NoError(w, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

func (w watched) metrics() map[string]metricdata.Metrics {
	w.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(w, w.read.Collect(w.Context(), &all))
	byName := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			byName[m.Name] = m
		}
	}
	return byName
}

// The SDK sees calls and attempts as the fakes of the core's tests do.
func TestSDK(t *testing.T) {
	w := watch(t, answering(t, 404), sdktrace.AlwaysSample())
	w.get()
	spans := w.spans.GetSpans()
	require.Len(t, spans, 2) // in the order in which they ended
	attempt, call := spans[0], spans[1]
	assert.Equal(t, "GET reviews", call.Name)
	assert.Equal(t, trace.SpanKindInternal, call.SpanKind)
	assert.Equal(t, trace.SpanKindClient, attempt.SpanKind)
	assert.Equal(t, call.SpanContext.SpanID(), attempt.Parent.SpanID())
	assert.Equal(t, codes.Error, attempt.Status.Code)
	assert.Empty(t, attempt.Status.Description)
	assert.Equal(t, "github.com/tulle-mesh/tulle", call.InstrumentationScope.Name)

	requests, ok := w.metrics()["http.client.request.duration"].Data.(metricdata.Histogram[float64])
	require.True(t, ok)
	require.Len(t, requests.DataPoints, 1)
	require.Len(t, requests.DataPoints[0].Exemplars, 1)
	id := call.SpanContext.TraceID()
	assert.Equal(t, id[:], requests.DataPoints[0].Exemplars[0].TraceID)
}

// What is served is seen by the SDK as well: of a trusted peer the trace goes
// on, and the pattern names the span.
func TestSDKServer(t *testing.T) {
	w := watch(t, answering(t, 200), sdktrace.AlwaysSample())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pages/{id}", func(http.ResponseWriter, *http.Request) { w.get() })
	srv := httptest.NewServer(w.mesh.Handler(mux))
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/pages/7", nil)
	require.NoError(t, err)
	req.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	eventually(t, func() bool { return len(w.spans.GetSpans()) == 3 }, "three spans")
	served := w.spans.GetSpans()[2]
	assert.Equal(t, "GET /pages/{id}", served.Name)
	assert.Equal(t, trace.SpanKindServer, served.SpanKind)
	assert.Equal(t, "b7ad6b7169203331", served.Parent.SpanID().String())
	assert.True(t, served.Parent.IsRemote())

	metrics := w.metrics()
	requests, ok := metrics["http.server.request.duration"].Data.(metricdata.Histogram[float64])
	require.True(t, ok)
	require.Len(t, requests.DataPoints, 1)
	route, _ := requests.DataPoints[0].Attributes.Value("http.route")
	assert.Equal(t, "/pages/{id}", route.AsString())
	id := served.SpanContext.TraceID()
	require.Len(t, requests.DataPoints[0].Exemplars, 1)
	assert.Equal(t, id[:], requests.DataPoints[0].Exemplars[0].TraceID)
	active, ok := metrics["http.server.active_requests"].Data.(metricdata.Sum[int64])
	require.True(t, ok)
	assert.EqualValues(t, 0, active.DataPoints[0].Value)
}

// Of what is not sampled there are metrics and no spans.
func TestUnsampled(t *testing.T) {
	w := watch(t, answering(t, 200), sdktrace.ParentBased(sdktrace.NeverSample()))
	for range 10 {
		w.get()
	}
	assert.Empty(t, w.spans.GetSpans())
	requests, ok := w.metrics()["http.client.request.duration"].Data.(metricdata.Histogram[float64])
	require.True(t, ok)
	assert.EqualValues(t, 10, requests.DataPoints[0].Count)
	assert.Empty(t, requests.DataPoints[0].Exemplars)
}

// BenchmarkCall is a call over loopback with the real SDK.
func BenchmarkCall(b *testing.B) {
	for name, sampler := range map[string]sdktrace.Sampler{"sampled": sdktrace.AlwaysSample(), "unsampled": sdktrace.NeverSample()} {
		b.Run(name, func(b *testing.B) {
			m, err := tulle.New(tulle.Config{Services: []tulle.Service{{Name: "reviews", Resolver: discovery.Addrs("10.0.0.1:80")}}},
				tulle.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))),
				tulle.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))),
				tulle.WithAttemptMiddleware(func(http.RoundTripper) http.RoundTripper { return null{} }))
			require.NoError(b, err)
			defer m.Shutdown(context.Background())
			require.NoError(b, m.Ready(b.Context()))
			req, err := http.NewRequest("GET", "http://reviews/", nil)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := m.Transport().RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				resp.Body.Close()
			}
		})
	}
}

// null answers at once.
type null struct{}

func (null) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
}
