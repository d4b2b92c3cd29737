package telemetry

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle/outcome"
)

// Span is the span of a call or an attempt. The zero Span is none, and its
// methods do nothing.
type Span struct {
	// ctx has the span, which saves a second pointer to it.
	ctx context.Context
}

// StartCall begins the span of a call and returns a context with it. Without
// a tracer it returns ctx and no span. Where ctx has no trace, the one in the
// header of the request goes on. Scope.Done ends the span.
func (s *Scope) StartCall(ctx context.Context, r *http.Request, mirrored bool) (context.Context, Span) {
	if s == nil || s.recorder.tracer == nil {
		return ctx, Span{}
	}
	ctx = s.recorder.extract(ctx, r.Header)
	st := s.start(methodOf(r.Method))
	ctx, span := s.recorder.tracer.Start(ctx, st.name, st.options...)
	if mirrored && span.IsRecording() {
		span.SetAttributes(mirroredKey.Bool(true))
	}
	return ctx, Span{ctx}
}

// StartAttempt begins the span of attempt n, from 1, at an endpoint. It
// begins none if the span of the call is not recorded. Span.End ends it.
func (s *Scope) StartAttempt(ctx context.Context, call Span, r *http.Request, n int, endpoint string) (context.Context, Span) {
	if s == nil || call.ctx == nil || !call.span().IsRecording() {
		return ctx, Span{}
	}
	return s.client(ctx, r, n, endpoint)
}

// client begins a span of kind CLIENT.
func (s *Scope) client(ctx context.Context, r *http.Request, n int, endpoint string) (context.Context, Span) {
	method := methodOf(r.Method)
	// What the conventions want to be there for sampling comes at once.
	all := append(make([]attribute.KeyValue, 0, 12), semconv.HTTPRequestMethodKey.String(methods[method]))
	if r.URL != nil {
		all = append(all, semconv.URLFull(redact(r.URL)), semconv.ServerAddress(r.URL.Hostname()))
		if port := portOf(r.URL.Scheme, r.URL.Port()); port != 0 {
			all = append(all, semconv.ServerPort(port))
		}
	}
	ctx, span := s.recorder.tracer.Start(ctx, spanName(method),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(all...))
	if !span.IsRecording() {
		return ctx, Span{ctx}
	}
	all = append(all[:0], s.identity()...)
	if method == 0 {
		all = append(all, semconv.HTTPRequestMethodOriginal(r.Method))
	}
	if n > 1 {
		all = append(all, semconv.HTTPRequestResendCount(n-1))
	}
	if endpoint != "" {
		host, port := splitAddr(endpoint)
		if all = append(all, semconv.NetworkPeerAddress(host)); port != 0 {
			all = append(all, semconv.NetworkPeerPort(port))
		}
	}
	span.SetAttributes(all...)
	return ctx, Span{ctx}
}

func (s Span) span() trace.Span { return trace.SpanFromContext(s.ctx) }

// recording returns the span if anything told to it is kept.
func (s Span) recording() (trace.Span, bool) {
	if s.ctx == nil {
		return nil, false
	}
	span := s.span()
	return span, span.IsRecording()
}

// headers tells the span of an attempt what its headers say.
func (s Span) headers(status int, fault string, a *Attempt) {
	span, ok := s.recording()
	if !ok {
		return
	}
	if status != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(status))
		if v := protocol(a.Response.ProtoMajor, a.Response.ProtoMinor); v != "" {
			span.SetAttributes(semconv.NetworkProtocolVersion(v))
		}
	}
	failed(span, fault, a.Err)
}

// protocol returns the version of HTTP as the conventions write it.
func protocol(major, minor int) string {
	switch {
	case major == 1 && minor == 0:
		return "1.0"
	case major == 1 && minor == 1:
		return "1.1"
	case major == 2:
		return "2"
	case major == 3:
		return "3"
	}
	return ""
}

// failed marks a span as failed, unless fault is "".
//
// "Don't set the span status description if the reason can be inferred from
// http.response.status_code" - semantic conventions for HTTP.
func failed(span trace.Span, fault string, err error) {
	if fault == "" {
		return
	}
	description := ""
	if err != nil {
		description = err.Error()
	}
	span.SetAttributes(semconv.ErrorTypeKey.String(fault))
	span.SetStatus(codes.Error, description)
}

// Late tells the span of an attempt that the end of the body has changed the
// judgement, with the error of the body if it has one.
func (s Span) Late(class outcome.Class, err error) {
	if span, ok := s.recording(); ok && class.Failed() {
		failed(span, class.String(), err)
	}
}

// Panicked tells the span of an attempt that code plugged in has panicked.
func (s Span) Panicked() {
	if span, ok := s.recording(); ok {
		failed(span, faultPanic, nil)
	}
}

// Event adds an event to the span.
func (s Span) Event(name string, attributes ...attribute.KeyValue) {
	if span, ok := s.recording(); ok {
		span.AddEvent(name, trace.WithAttributes(attributes...))
	}
}

// End ends the span of an attempt. It is called once.
func (s Span) End() {
	if s.ctx != nil {
		s.span().End()
	}
}

// done tells the span of a call what became of it, and ends it.
func (s Span) done(fault string, c *Call) {
	if s.ctx == nil {
		return
	}
	span := s.span()
	if span.IsRecording() {
		span.SetAttributes(attemptsKey.Int(c.Attempts))
		if c.Status != 0 {
			span.SetAttributes(semconv.HTTPResponseStatusCode(c.Status))
		}
		if c.Reason != outcome.NoReason {
			span.SetAttributes(reasonKey.String(c.Reason.String()))
		}
		failed(span, fault, c.Err)
	}
	span.End()
}

// TraceID returns the trace that ctx belongs to, zero if there is none or the
// Recorder has nothing to do with traces.
func (r *Recorder) TraceID(ctx context.Context) [16]byte {
	if r == nil || r.tracer == nil && r.propagator == nil {
		return [16]byte{}
	}
	return trace.SpanContextFromContext(ctx).TraceID()
}
