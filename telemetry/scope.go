package telemetry

import (
	"context"
	"maps"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle/outcome"
)

// Labels are what calls that go the same way have in common. They become
// attributes of metrics, so they are names from a configuration, never from
// requests: whoever can make up names could fill any memory. What is empty is
// no attribute.
type Labels struct {
	// Service, Subset and Route are names in the mesh.
	Service, Subset, Route string
	// Host is the server.address of metrics: the name that callers use.
	Host string
	// Port is the server.port of metrics, 0 if callers may use any. It is
	// then that of the scheme, for URLs without a port.
	Port int
}

// Scope is where calls go. It is made by Recorder.Scope and safe for
// concurrent use; a nil Scope records nothing.
type Scope struct {
	recorder *Recorder
	labels   Labels
	attempts optionCache
	calls    optionCache
	starts   [len(methods)]atomic.Pointer[start]
}

// start is how the span of a call with a certain method begins.
type start struct {
	name    string
	options []trace.SpanStartOption
}

// Scope returns the scope of calls with these labels, nil of a nil Recorder.
// It is made once for many calls.
func (r *Recorder) Scope(l Labels) *Scope {
	if r == nil {
		return nil
	}
	return &Scope{recorder: r, labels: l}
}

// Call is a call that has ended.
type Call struct {
	// Request is what the caller asked; it is only read.
	Request *http.Request
	// Endpoint is the address that gave the response, if one did.
	Endpoint string
	// Status is the status code of the response, 0 without one.
	Status int
	// Class is the judgement on the response, zero without one.
	Class outcome.Class
	// Reason is why the mesh answered, refused or gave up the call itself.
	Reason outcome.Reason
	// Attempts is how many were sent.
	Attempts int
	// Duration is the time from the start of the call to its end.
	Duration time.Duration
	// Mirrored says that the call is a copy of another.
	Mirrored bool
	// Err is what the call, or the body of its response, failed with.
	Err error
}

// Attempt is an attempt whose response headers came or can no longer come.
type Attempt struct {
	// Request is what was sent; it is only read.
	Request *http.Request
	// Response is nil if there was none; it is only read.
	Response *http.Response
	// Result is the judgement and its measurements.
	Result outcome.Result
	// Mirrored says that the attempt is of a copy of another call.
	Mirrored bool
	// Err is the error of the attempt, nil if there was a response.
	Err error
}

// Attempted records an attempt at its headers: metrics, and what its span
// knows by then. The span goes on.
func (s *Scope) Attempted(sp Span, a Attempt) {
	if s == nil {
		return
	}
	status := 0
	if a.Response != nil {
		status = a.Response.StatusCode
	}
	fault := faultOf(status, a.Result.Class, a.Err)
	if a.Result.SentBack {
		fault = "" // as asked, and no error
		sp.Event("tulle.sent_back")
	}
	if s.recorder.requests != nil && !a.Mirrored {
		key := optionKey{method: methodOf(a.Request.Method), status: statusKey(status), fault: fault, port: s.port(a.Request)}
		options := s.attempts.get(key)
		if options == nil {
			options = s.attempts.add(key, s.attemptAttributes(key))
		}
		s.recorder.requests.Record(sp.or(a.Request.Context()), a.Result.Latency.Seconds(), options...)
	}
	sp.headers(status, fault, &a)
}

// Done records a call that has ended: metrics, the end of its span, and a
// line of the access log. Copies of other calls are no part of the metrics.
func (s *Scope) Done(sp Span, c Call) {
	if s == nil {
		return
	}
	fault := faultOfCall(&c)
	ctx := sp.or(c.Request.Context())
	if s.recorder.calls != nil && !c.Mirrored {
		key := optionKey{method: methodOf(c.Request.Method), status: statusKey(c.Status), fault: fault, reason: c.Reason}
		options := s.calls.get(key)
		if options == nil {
			options = s.calls.add(key, s.callAttributes(key))
		}
		s.recorder.calls.Record(ctx, c.Duration.Seconds(), options...)
	}
	sp.done(fault, &c)
	s.access(ctx, &c)
}

// port returns the server.port of a request's metrics.
func (s *Scope) port(r *http.Request) uint16 {
	if s.labels.Port != 0 || r.URL == nil || s.labels.Host == "" {
		return uint16(s.labels.Port)
	}
	if r.URL.Port() != "" {
		return 0
	}
	return uint16(portOf(r.URL.Scheme, ""))
}

// statusKey takes a status that is none for one that is not there.
func statusKey(status int) uint16 {
	if status < 100 || status > 999 {
		return 0
	}
	return uint16(status)
}

func (s *Scope) attemptAttributes(k optionKey) []attribute.KeyValue {
	all := s.common(k)
	if s.labels.Host != "" {
		all = append(all, semconv.ServerAddress(s.labels.Host))
	}
	if k.port != 0 {
		all = append(all, semconv.ServerPort(int(k.port)))
	}
	return all
}

func (s *Scope) callAttributes(k optionKey) []attribute.KeyValue {
	all := s.common(k)
	if s.labels.Route != "" {
		all = append(all, routeKey.String(s.labels.Route))
	}
	if k.reason != outcome.NoReason {
		all = append(all, reasonKey.String(k.reason.String()))
	}
	return all
}

func (s *Scope) common(k optionKey) []attribute.KeyValue {
	return append(s.identity(), k.attributes()...)
}

// attributes returns the attributes that the conventions have for it.
func (k optionKey) attributes() []attribute.KeyValue {
	all := []attribute.KeyValue{semconv.HTTPRequestMethodKey.String(methods[k.method])}
	if k.status != 0 {
		all = append(all, semconv.HTTPResponseStatusCode(int(k.status)))
	}
	if k.fault != "" {
		all = append(all, semconv.ErrorTypeKey.String(k.fault))
	}
	return all
}

// identity returns the attributes that everything of the scope has.
func (s *Scope) identity() (all []attribute.KeyValue) {
	if s.labels.Service != "" {
		all = append(all, serviceKey.String(s.labels.Service))
	}
	if s.labels.Subset != "" {
		all = append(all, subsetKey.String(s.labels.Subset))
	}
	return all
}

// start returns how the span of a call begins.
func (s *Scope) start(method uint8) *start {
	if st := s.starts[method].Load(); st != nil {
		return st
	}
	all := append(s.identity(), semconv.HTTPRequestMethodKey.String(methods[method]))
	if s.labels.Route != "" {
		all = append(all, routeKey.String(s.labels.Route))
	}
	st := &start{name: spanName(method), options: []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(all...),
	}}
	if to := s.labels.Service; to != "" {
		st.name += " " + to
	}
	s.starts[method].Store(st)
	return st
}

// optionKey is what the attributes of one measurement are looked up by.
type optionKey struct {
	method uint8
	scheme uint8 // of what is served
	reason outcome.Reason
	status uint16
	port   uint16
	fault  string
}

// maxOptions bounds what status codes can do to one scope.
const maxOptions = 512

// optionCache has the options of measurements made so far, so that those
// after the first of a kind build nothing.
type optionCache struct {
	made atomic.Pointer[map[optionKey][]metric.RecordOption]
}

func (c *optionCache) get(k optionKey) []metric.RecordOption {
	if m := c.made.Load(); m != nil {
		return (*m)[k]
	}
	return nil
}

// add returns the options of k with the attributes, and keeps them. Beyond
// maxOptions all measurements are of one kind, marked as the SDK does.
func (c *optionCache) add(k optionKey, all []attribute.KeyValue) []metric.RecordOption {
	made := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(all...))}
	for {
		was := c.made.Load()
		next := map[optionKey][]metric.RecordOption{}
		if was != nil {
			if len(*was) >= maxOptions {
				return overflow()
			}
			next = maps.Clone(*was)
		}
		next[k] = made
		if c.made.CompareAndSwap(was, &next) {
			return made
		}
	}
}

// overflow returns the options of measurements that are too many to be told
// apart.
func overflow() []metric.RecordOption {
	return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.Bool("otel.metric.overflow", true)))}
}

// or returns the context of the span, ctx if there is none.
func (s Span) or(ctx context.Context) context.Context {
	if s.ctx != nil {
		return s.ctx
	}
	return ctx
}
