package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle/internal/oteltest"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/telemetry"
)

var reviews = telemetry.Labels{Service: "reviews", Subset: "v2", Route: "r", Host: "reviews.test"}

func scope(t testing.TB, o telemetry.Options) *telemetry.Scope {
	t.Helper()
	r, err := telemetry.New(o)
	require.NoError(t, err)
	return r.Scope(reviews)
}

func request(method, url string) *http.Request {
	r := httptest.NewRequest("GET", url, nil)
	r.Method = method
	return r
}

func response(status int) *http.Response {
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1}
}

// try records one attempt as a mesh does, and returns its context.
func try(s *telemetry.Scope, ctx context.Context, call telemetry.Span, r *http.Request, n, status int, err error) context.Context {
	ctx, span := s.StartAttempt(ctx, call, r, n, "10.0.0.1:8080")
	var resp *http.Response
	if err == nil {
		resp = response(status)
	}
	s.Attempted(span, telemetry.Attempt{Request: r, Response: resp, Err: err, Result: outcome.Result{
		Outcome: outcome.HTTP{}.Classify(resp, err), Latency: 250 * time.Millisecond,
	}})
	span.End()
	return ctx
}

func TestSpansOfACall(t *testing.T) {
	traces := &oteltest.Traces{}
	s := scope(t, telemetry.Options{Tracers: traces})
	r := request("GET", "http://anna:geheim@reviews.test/a?token=t&page=1")
	ctx, call := s.StartCall(r.Context(), r, false)
	try(s, ctx, call, r, 1, 503, nil)
	try(s, ctx, call, r, 2, 200, nil)
	s.Done(call, telemetry.Call{Request: r, Status: 200, Attempts: 2, Duration: time.Second})

	spans := traces.Spans()
	require.Len(t, spans, 3)
	for _, span := range spans {
		assert.Equal(t, 1, span.Ended(), span.Name)
	}
	top, first, second := spans[0], spans[1], spans[2]
	assert.Equal(t, "GET reviews", top.Name)
	assert.Equal(t, trace.SpanKindInternal, top.Kind)
	assert.Equal(t, map[string]string{
		"http.request.method": "GET", "http.response.status_code": "200",
		"tulle.service": "reviews", "tulle.subset": "v2", "tulle.route": "r", "tulle.attempts": "2",
	}, top.Attributes())
	for _, span := range spans[1:] {
		assert.Equal(t, "GET", span.Name)
		assert.Equal(t, trace.SpanKindClient, span.Kind)
		assert.Equal(t, top.SpanContext(), span.Parent)
	}
	want := map[string]string{
		"http.request.method": "GET", "http.response.status_code": "503", "error.type": "503",
		"url.full":       "http://REDACTED:REDACTED@reviews.test/a?token=REDACTED&page=1",
		"server.address": "reviews.test", "server.port": "80", "network.protocol.version": "1.1",
		"network.peer.address": "10.0.0.1", "network.peer.port": "8080", "tulle.service": "reviews", "tulle.subset": "v2",
	}
	assert.Equal(t, want, first.Attributes())
	delete(want, "error.type")
	want["http.response.status_code"], want["http.request.resend_count"] = "200", "1"
	assert.Equal(t, want, second.Attributes())
	status := func(s *oteltest.Span) codes.Code { code, _ := s.Status(); return code }
	assert.Equal(t, []codes.Code{codes.Unset, codes.Error, codes.Unset}, []codes.Code{status(top), status(first), status(second)})
}

func TestErrorTypes(t *testing.T) {
	lost := errors.New("reset")
	for _, row := range []struct {
		status       int
		reason       outcome.Reason
		err          error
		attempt, all string
	}{
		{200, 0, nil, "", ""},
		{302, 0, nil, "", ""},
		{404, 0, nil, "404", "404"},
		{503, 0, nil, "503", "503"},
		{0, outcome.ConnectionLost, lost, "reset", "connection_lost"},
		{0, outcome.ConnectFailed, &outcome.UnsentError{Err: lost}, "connect", "connect_failed"},
		{0, outcome.Cancelled, context.Canceled, "cancelled", "cancelled"},
		{0, outcome.BadRequest, &outcome.RequestBodyError{Err: lost}, "_OTHER", "bad_request"},
		{200, outcome.Cancelled, context.Canceled, "", "cancelled"}, // in the middle of the body
	} {
		traces, meters := &oteltest.Traces{}, &oteltest.Metrics{}
		s := scope(t, telemetry.Options{Tracers: traces, Meters: meters})
		r := request("GET", "http://reviews.test/")
		ctx, call := s.StartCall(r.Context(), r, false)
		sent := row.err
		if row.status != 0 {
			sent = nil
		}
		try(s, ctx, call, r, 1, row.status, sent)
		s.Done(call, telemetry.Call{Request: r, Status: row.status, Reason: row.reason, Err: row.err, Attempts: 1})
		for i, want := range []string{row.all, row.attempt} {
			span := traces.Spans()[i]
			assert.Equal(t, want, span.Attributes()["error.type"], "%+v", row)
			code, _ := span.Status()
			assert.Equal(t, want != "", code == codes.Error, "%+v", row)
		}
		assert.Equal(t, row.attempt, value(meters.Recorded("http.client.request.duration")[0], "error.type"), "%+v", row)
		assert.Equal(t, row.all, value(meters.Recorded("tulle.call.duration")[0], "error.type"), "%+v", row)
	}
}

func value(v oteltest.Value, key string) string {
	for kv := range strings.SplitSeq(v.Attributes, ",") {
		if k, value, _ := strings.Cut(kv, "="); k == key {
			return value
		}
	}
	return ""
}

// What the end of the body changes, and what a panic leaves, is an error of
// the span.
func TestLateJudgements(t *testing.T) {
	traces := &oteltest.Traces{}
	s := scope(t, telemetry.Options{Tracers: traces})
	r := request("GET", "http://reviews.test/")
	ctx, call := s.StartCall(r.Context(), r, false)
	_, broken := s.StartAttempt(ctx, call, r, 1, "/run/reviews.sock")
	broken.Late(outcome.Reset, errors.New("unexpected EOF"))
	broken.Event("tulle.test", attribute.Int("n", 1))
	_, panicked := s.StartAttempt(ctx, call, r, 2, "")
	panicked.Panicked()
	_, fine := s.StartAttempt(ctx, call, r, 3, "")
	fine.Late(outcome.Success, nil)
	spans := traces.Spans()
	code, text := spans[1].Status()
	assert.Equal(t, codes.Error, code)
	assert.Equal(t, "unexpected EOF", text)
	assert.Equal(t, "reset", spans[1].Attributes()["error.type"])
	assert.Equal(t, "/run/reviews.sock", spans[1].Attributes()["network.peer.address"])
	assert.Equal(t, []string{"tulle.test"}, spans[1].Events())
	assert.Equal(t, "panic", spans[2].Attributes()["error.type"])
	code, _ = spans[3].Status()
	assert.Equal(t, codes.Unset, code)
}

func TestUnknownMethods(t *testing.T) {
	traces, meters := &oteltest.Traces{}, &oteltest.Metrics{}
	s := scope(t, telemetry.Options{Tracers: traces, Meters: meters})
	for i := range 100 {
		r := request(fmt.Sprintf("MADE-UP-%d", i), "http://reviews.test/")
		ctx, call := s.StartCall(r.Context(), r, false)
		try(s, ctx, call, r, 1, 200, nil)
		s.Done(call, telemetry.Call{Request: r, Status: 200})
	}
	assert.Len(t, traces.Named("HTTP reviews"), 100)
	require.Len(t, traces.Named("HTTP"), 100)
	got := traces.Named("HTTP")[7].Attributes()
	assert.Equal(t, "_OTHER", got["http.request.method"])
	assert.Equal(t, "MADE-UP-7", got["http.request.method_original"])
	for _, v := range append(meters.Recorded("tulle.call.duration"), meters.Recorded("http.client.request.duration")...) {
		assert.Equal(t, "_OTHER", value(v, "http.request.method"))
	}
}

func TestUnrecordedCallHasNoAttemptSpans(t *testing.T) {
	traces := &oteltest.Traces{Unsampled: true}
	s := scope(t, telemetry.Options{Tracers: traces})
	r := request("GET", "http://reviews.test/")
	ctx, call := s.StartCall(r.Context(), r, false)
	at := try(s, ctx, call, r, 1, 200, nil)
	s.Done(call, telemetry.Call{Request: r, Status: 200})
	assert.Empty(t, traces.Spans())
	sc := trace.SpanContextFromContext(at)
	assert.True(t, sc.IsValid(), "a trace that is not sampled is passed on all the same")
	assert.False(t, sc.IsSampled())
}

func TestCopiesAreMarked(t *testing.T) {
	traces, meters := &oteltest.Traces{}, &oteltest.Metrics{}
	s := scope(t, telemetry.Options{Tracers: traces, Meters: meters})
	r := request("GET", "http://reviews.test/")
	_, call := s.StartCall(r.Context(), r, true)
	s.Attempted(telemetry.Span{}, telemetry.Attempt{Request: r, Response: response(200), Mirrored: true})
	s.Done(call, telemetry.Call{Request: r, Status: 200, Mirrored: true})
	assert.Equal(t, "true", traces.Spans()[0].Attributes()["tulle.mirrored"])
	assert.Empty(t, append(meters.Recorded("tulle.call.duration"), meters.Recorded("http.client.request.duration")...))
}

func TestMetrics(t *testing.T) {
	traces, meters := &oteltest.Traces{}, &oteltest.Metrics{}
	s := scope(t, telemetry.Options{Tracers: traces, Meters: meters})
	r := request("POST", "http://some.other.name/")
	ctx, call := s.StartCall(r.Context(), r, false)
	try(s, ctx, call, r, 1, 200, nil)
	s.Done(call, telemetry.Call{Request: r, Status: 200, Duration: time.Second})
	id := traces.Spans()[0].SpanContext().TraceID()
	require.Equal(t, []oteltest.Value{{
		Name:       "http.client.request.duration",
		Attributes: "http.request.method=POST,http.response.status_code=200,server.address=reviews.test,server.port=80,tulle.service=reviews,tulle.subset=v2",
		Value:      .25, Trace: id,
	}}, meters.Recorded("http.client.request.duration"))
	require.Equal(t, []oteltest.Value{{
		Name:       "tulle.call.duration",
		Attributes: "http.request.method=POST,http.response.status_code=200,tulle.route=r,tulle.service=reviews,tulle.subset=v2",
		Value:      1, Trace: id,
	}}, meters.Recorded("tulle.call.duration"))
}

// The port of metrics is a configured one or that of the scheme.
func TestPorts(t *testing.T) {
	for _, row := range []struct {
		port int
		url  string
		want string
	}{
		{0, "http://reviews.test/", "80"}, {0, "https://reviews.test/", "443"}, {0, "http://reviews.test:31999/", ""},
		{9080, "http://reviews.test:9080/", "9080"},
	} {
		meters := &oteltest.Metrics{}
		r, err := telemetry.New(telemetry.Options{Meters: meters})
		require.NoError(t, err)
		s := r.Scope(telemetry.Labels{Service: "reviews", Host: "reviews.test", Port: row.port})
		try(s, t.Context(), telemetry.Span{}, request("GET", row.url), 1, 200, nil)
		assert.Equal(t, row.want, value(meters.Recorded("http.client.request.duration")[0], "server.port"))
	}
}

// However many status codes a server makes up, the series of a scope are
// bounded, and nothing is lost.
func TestSeriesAreBounded(t *testing.T) {
	meters := &oteltest.Metrics{}
	s := scope(t, telemetry.Options{Meters: meters})
	n := 0
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		for status := -100; status < 1100; status++ {
			try(s, t.Context(), telemetry.Span{}, request(method, "http://reviews.test/"), 1, status, nil)
			n++
		}
	}
	all := meters.Recorded("http.client.request.duration")
	assert.Len(t, all, n)
	series := map[string]int{}
	for _, v := range all {
		series[v.Attributes]++
	}
	assert.LessOrEqual(t, len(series), 513)
	assert.NotZero(t, series["otel.metric.overflow=true"])
}

const stale = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestInject(t *testing.T) {
	r, err := telemetry.New(telemetry.Options{Tracers: &oteltest.Traces{}})
	require.NoError(t, err)
	require.True(t, r.Propagates())
	traced, span := r.Scope(reviews).StartCall(t.Context(), request("GET", "http://reviews.test/"), false)
	defer span.End()
	want := fmt.Sprintf("00-%s-%s-01", trace.SpanContextFromContext(traced).TraceID(), trace.SpanContextFromContext(traced).SpanID())

	caller := []string{stale}
	h := http.Header{"Traceparent": caller, "traceparent": {stale}, "Tracestate": {"old=1"}, "Baggage": {"a=b"}, "X": {"y"}}
	r.Inject(traced, h)
	assert.Equal(t, http.Header{"Traceparent": {want}, "Baggage": {"a=b"}, "X": {"y"}}, h)
	assert.Equal(t, stale, caller[0], "the caller's value has been written to")

	member, err := baggage.NewMember("user", "anna")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	r.Inject(baggage.ContextWithBaggage(traced, bag), h)
	assert.Equal(t, []string{"user=anna"}, h["Baggage"])

	h = http.Header{"Traceparent": {stale}, "Tracestate": {"old=1"}}
	r.Inject(t.Context(), h)
	assert.Equal(t, http.Header{"Traceparent": {stale}, "Tracestate": {"old=1"}}, h, "without a trace nothing is taken away")

	quiet, err := telemetry.New(telemetry.Options{})
	require.NoError(t, err)
	assert.False(t, quiet.Propagates())
	h = http.Header{}
	quiet.Inject(traced, h)
	assert.Empty(t, h)
}

// A trace that a caller passes on by hand goes on, unless its context has one.
func TestTraceInTheHeaderGoesOn(t *testing.T) {
	traces := &oteltest.Traces{}
	s := scope(t, telemetry.Options{Tracers: traces})
	r := request("GET", "http://reviews.test/")
	r.Header.Set("Traceparent", stale)
	s.StartCall(r.Context(), r, false)
	assert.Equal(t, "b7ad6b7169203331", traces.Spans()[0].Parent.SpanID().String())
	mine, span := traces.Tracer("").Start(t.Context(), "mine")
	s.StartCall(mine, r, false)
	assert.Equal(t, span.SpanContext(), traces.Spans()[2].Parent)
	r.Header.Set("Traceparent", "nonsense")
	s.StartCall(r.Context(), r, false)
	assert.False(t, traces.Spans()[3].Parent.IsValid())
}

func TestTraceID(t *testing.T) {
	traces := &oteltest.Traces{}
	ctx, span := traces.Tracer("").Start(t.Context(), "mine")
	for name, o := range map[string]telemetry.Options{"tracer": {Tracers: traces}, "propagator": {Propagator: propagation.TraceContext{}}} {
		r, err := telemetry.New(o)
		require.NoError(t, err)
		assert.Equal(t, [16]byte(span.SpanContext().TraceID()), r.TraceID(ctx), name)
		assert.Zero(t, r.TraceID(t.Context()))
	}
	assert.Zero(t, (*telemetry.Recorder)(nil).TraceID(ctx))
}

func TestAccessLog(t *testing.T) {
	lost := errors.New("connection reset")
	for _, row := range []struct {
		call telemetry.Call
		want string
	}{
		{telemetry.Call{Status: 200, Endpoint: "10.0.0.1:80", Attempts: 2, Duration: 1500 * time.Microsecond}, "level=INFO msg=call direction=outbound method=GET host=reviews.test path=/a%20b status=200 " +
			"service=reviews subset=v2 route=r endpoint=10.0.0.1:80 attempts=2 duration=1.5ms trace_id=TRACE"},
		{telemetry.Call{Status: 503, Attempts: 1}, "level=WARN msg=call direction=outbound method=GET host=reviews.test path=/a%20b status=503 service=reviews subset=v2 route=r attempts=1 duration=0s trace_id=TRACE"},
		{telemetry.Call{Reason: outcome.ConnectionLost, Err: lost, Attempts: 1}, "level=WARN msg=call direction=outbound method=GET host=reviews.test path=/a%20b reason=connection_lost " +
			`service=reviews subset=v2 route=r attempts=1 duration=0s trace_id=TRACE error="connection reset"`},
		{telemetry.Call{Reason: outcome.Cancelled, Err: context.Canceled}, "level=INFO msg=call direction=outbound method=GET host=reviews.test path=/a%20b reason=cancelled " +
			`service=reviews subset=v2 route=r attempts=0 duration=0s trace_id=TRACE error="context canceled"`},
		{telemetry.Call{Status: 500, Mirrored: true}, "level=INFO msg=call direction=outbound method=GET host=reviews.test path=/a%20b status=500 " +
			"service=reviews subset=v2 route=r attempts=0 duration=0s mirrored=true trace_id=TRACE"},
		{telemetry.Call{Status: 200, Class: outcome.Gateway}, "level=WARN msg=call direction=outbound method=GET host=reviews.test path=/a%20b status=200 " +
			"service=reviews subset=v2 route=r attempts=0 duration=0s trace_id=TRACE"},
	} {
		var out bytes.Buffer
		traces := &oteltest.Traces{}
		s := scope(t, telemetry.Options{Tracers: traces, AccessLog: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		}))})
		r := request("GET", "http://anna:geheim@reviews.test/a%20b?token=geheim&page=1")
		r.Header.Set("Authorization", "Bearer geheim")
		_, call := s.StartCall(r.Context(), r, false)
		row.call.Request = r
		s.Done(call, row.call)
		want := strings.Replace(row.want, "TRACE", traces.Spans()[0].SpanContext().TraceID().String(), 1)
		assert.Equal(t, want+"\n", out.String())
	}
}

// What is off is not even looked at.
func TestNothingIsRecordedWhereNothingIsOn(t *testing.T) {
	r := request("GET", "http://reviews.test/")
	for name, s := range map[string]*telemetry.Scope{"no scope": nil, "no recorder": (*telemetry.Recorder)(nil).Scope(reviews), "nothing on": scope(t, telemetry.Options{})} {
		ctx, call := s.StartCall(t.Context(), r, false)
		assert.Equal(t, t.Context(), ctx, name)
		at, span := s.StartAttempt(ctx, call, r, 1, "10.0.0.1:80")
		assert.Equal(t, t.Context(), at, name)
		s.Attempted(span, telemetry.Attempt{Request: r, Response: response(200)})
		span.Late(outcome.Reset, nil)
		span.Panicked()
		span.Event("x")
		span.End()
		s.Done(call, telemetry.Call{Request: r, Status: 200})
	}
	require.NoError(t, (*telemetry.Recorder)(nil).Close())
}
