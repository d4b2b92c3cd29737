package oteltest

import (
	"context"
	"encoding/binary"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// Traces is a TracerProvider that keeps every span. The zero value is ready
// for use; it samples what its parent says, and everything without one unless
// Unsampled is set.
type Traces struct {
	embedded.TracerProvider
	// Unsampled begins traces that are not recorded.
	Unsampled bool

	mu    sync.Mutex
	spans []*Span
	ids   uint64
}

// Tracer implements trace.TracerProvider.
func (t *Traces) Tracer(string, ...trace.TracerOption) trace.Tracer { return tracer{traces: t} }

// Spans returns the recorded spans in the order in which they began.
func (t *Traces) Spans() []*Span {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]*Span(nil), t.spans...)
}

// Named returns the recorded spans of a name.
func (t *Traces) Named(name string) (found []*Span) {
	for _, s := range t.Spans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

func (t *Traces) id() uint64 {
	t.ids++
	return t.ids
}

type tracer struct {
	embedded.Tracer
	traces *Traces
}

func (t tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	all := t.traces
	all.mu.Lock()
	defer all.mu.Unlock()
	c := trace.NewSpanStartConfig(opts...)
	parent := trace.SpanContextFromContext(ctx)
	if c.NewRoot() {
		parent = trace.SpanContext{}
	}
	sc := trace.SpanContextConfig{TraceID: parent.TraceID(), TraceFlags: parent.TraceFlags(), TraceState: parent.TraceState()}
	if !parent.IsValid() {
		binary.BigEndian.PutUint64(sc.TraceID[8:], all.id())
		sc.TraceFlags = sc.TraceFlags.WithSampled(!all.Unsampled)
	}
	binary.BigEndian.PutUint64(sc.SpanID[:], all.id())
	s := &Span{traces: all, context: trace.NewSpanContext(sc), Name: name, Parent: parent, Kind: c.SpanKind(), Links: c.Links(), name: name, attributes: map[attribute.Key]attribute.Value{}}
	s.set(c.Attributes())
	if s.context.IsSampled() {
		all.spans = append(all.spans, s)
	}
	return trace.ContextWithSpan(ctx, s), s
}

// Span is a recorded span. Its exported fields do not change.
type Span struct {
	embedded.Span
	traces  *Traces
	context trace.SpanContext

	// Name is the one that the span began with.
	Name   string
	Parent trace.SpanContext
	Kind   trace.SpanKind
	Links  []trace.Link

	name        string
	attributes  map[attribute.Key]attribute.Value
	status      codes.Code
	description string
	events      []string
	ended       int
}

func (s *Span) set(kv []attribute.KeyValue) {
	for _, a := range kv {
		s.attributes[a.Key] = a.Value
	}
}

func (s *Span) locked(f func()) {
	s.traces.mu.Lock()
	defer s.traces.mu.Unlock()
	f()
}

// End implements trace.Span.
func (s *Span) End(...trace.SpanEndOption) { s.locked(func() { s.ended++ }) }

// AddEvent implements trace.Span.
func (s *Span) AddEvent(name string, _ ...trace.EventOption) {
	s.locked(func() { s.events = append(s.events, name) })
}

// AddLink implements trace.Span.
func (s *Span) AddLink(trace.Link) {}

// IsRecording implements trace.Span.
func (s *Span) IsRecording() bool { return s.context.IsSampled() && s.Ended() == 0 }

// RecordError implements trace.Span.
func (s *Span) RecordError(error, ...trace.EventOption) {}

// SpanContext implements trace.Span.
func (s *Span) SpanContext() trace.SpanContext { return s.context }

// SetStatus implements trace.Span.
func (s *Span) SetStatus(code codes.Code, description string) {
	s.locked(func() { s.status, s.description = code, description })
}

// SetName implements trace.Span.
func (s *Span) SetName(name string) { s.locked(func() { s.name = name }) }

// LastName returns the name of the span after all changes.
func (s *Span) LastName() (name string) {
	s.locked(func() { name = s.name })
	return name
}

// SetAttributes implements trace.Span.
func (s *Span) SetAttributes(kv ...attribute.KeyValue) { s.locked(func() { s.set(kv) }) }

// TracerProvider implements trace.Span.
func (s *Span) TracerProvider() trace.TracerProvider { return s.traces }

// Ended returns how often the span has been ended.
func (s *Span) Ended() (n int) {
	s.locked(func() { n = s.ended })
	return n
}

// Status returns the status set and its description.
func (s *Span) Status() (code codes.Code, description string) {
	s.locked(func() { code, description = s.status, s.description })
	return code, description
}

// Events returns the names of the span's events.
func (s *Span) Events() (names []string) {
	s.locked(func() { names = append(names, s.events...) })
	return names
}

// Attributes returns the attributes as they would be printed.
func (s *Span) Attributes() map[string]string {
	all := map[string]string{}
	s.locked(func() {
		for k, v := range s.attributes {
			all[string(k)] = v.String()
		}
	})
	return all
}
