package telemetry

import (
	"context"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceFields returns the header fields of a propagator that belong to one
// trace, each as it is sent and as the propagator calls it, for a caller may
// have put either in the map. Baggage is none of them: it is the caller's own.
func traceFields(p propagation.TextMapPropagator) (fields []string) {
	if p == nil {
		return nil
	}
	for _, name := range p.Fields() {
		if canonical := http.CanonicalHeaderKey(name); canonical != "Baggage" {
			fields = append(fields, canonical)
			if canonical != name {
				fields = append(fields, name)
			}
		}
	}
	return fields
}

// Propagates reports whether Inject may write anything, so that a header map
// of one's own is needed.
func (r *Recorder) Propagates() bool { return r != nil && r.propagator != nil }

// Inject writes the trace context and baggage of ctx to h. What h has of
// another trace goes, so that the two are never mixed; without a trace in ctx,
// h keeps what it has. The values of h are replaced and not written to.
func (r *Recorder) Inject(ctx context.Context, h http.Header) {
	if !r.Propagates() {
		return
	}
	if trace.SpanContextFromContext(ctx).IsValid() {
		for _, name := range r.fields {
			delete(h, name)
		}
	}
	r.propagator.Inject(ctx, propagation.HeaderCarrier(h))
}

// carries reports whether a header may have a trace.
func (r *Recorder) carries(h http.Header) bool {
	return slices.ContainsFunc(r.fields, func(name string) bool { return len(h[name]) > 0 })
}

// extract returns ctx with the trace that a request brings along in its
// header, for callers that pass on by hand what they were sent. A trace in
// ctx goes before.
func (r *Recorder) extract(ctx context.Context, h http.Header) context.Context {
	if r.propagator == nil || trace.SpanContextFromContext(ctx).IsValid() || !r.carries(h) {
		return ctx
	}
	from := r.propagator.Extract(context.Background(), propagation.HeaderCarrier(h))
	if sc := trace.SpanContextFromContext(from); sc.IsValid() {
		return trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	return ctx
}
