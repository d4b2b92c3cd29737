package tulle

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/telemetry"
)

// WithTracerProvider makes spans of calls and attempts, and of requests that
// come through Handler, see package telemetry.
// By default there are none; OpenTelemetry's global provider is used only if
// it is given here. Unless WithPropagator says otherwise, attempts then take
// W3C trace context and baggage with them.
func WithTracerProvider(p trace.TracerProvider) Option {
	return optionFunc(func(o *options) { o.telemetry.Tracers = p })
}

// WithMeterProvider makes metrics of calls, of requests that come through
// Handler, and of what the mesh knows, see package telemetry. By default there are none.
func WithMeterProvider(p metric.MeterProvider) Option {
	return optionFunc(func(o *options) { o.telemetry.Meters = p })
}

// WithPropagator sets how attempts take the trace context with them, in a
// header of their own. It goes to services that are not External, to those
// that are with Service.TraceContext, and never to unknown hosts. One that
// writes nothing is propagation.NewCompositeTextMapPropagator(). It also reads
// the trace context of requests that come through Handler, of peers in
// Inbound.Trust.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return optionFunc(func(o *options) { o.telemetry.Propagator = p })
}

// WithAccessLog writes a line for each call and for each request that comes
// through Handler, when it has ended: level Info, or Warn for one that failed
// or was answered with 500 or above. The attribute direction says which it is.
// Lines have no headers and no query, and not the name of who asks. What passes through to unknown hosts is no call of the
// mesh and has none. By default there are none.
func WithAccessLog(l *slog.Logger) Option {
	return optionFunc(func(o *options) { o.telemetry.AccessLog = l })
}

// newRecorder returns the recorder that the options ask for, nil if they ask
// for nothing.
func (m *Mesh) newRecorder() (*telemetry.Recorder, error) {
	o := m.options.telemetry
	if o.Tracers == nil && o.Meters == nil && o.Propagator == nil && o.AccessLog == nil {
		return nil, nil
	}
	o.Collect, o.Version = m.collect, version()
	return telemetry.New(o)
}

// unwatch ends the collection of metrics.
func (m *Mesh) unwatch() {
	if err := m.recorder.Close(); err != nil {
		m.options.logger.Warn("metrics could not be unregistered", "error", err)
	}
}

// scopes has the scope of each destination of a route that calls have gone
// to. They are made as they come: not every route leads everywhere.
type scopes struct{ made sync.Map }

func (r *route) scope(recorder *telemetry.Recorder, d *destination) *telemetry.Scope {
	if s, ok := r.scopes.made.Load(d); ok {
		return s.(*telemetry.Scope)
	}
	l := telemetry.Labels{Route: r.name}
	if d != nil {
		l.Service, l.Subset, l.Host, l.Port = d.service.name, d.subset.name, d.host, d.port
	}
	s, _ := r.scopes.made.LoadOrStore(d, recorder.Scope(l))
	return s.(*telemetry.Scope)
}

// watch begins the span of the call and returns the context for what follows.
// It comes when the destination is known, and before anything can end the
// call.
func (c *Call) watch(ctx context.Context) context.Context {
	if c.mesh.recorder == nil {
		return ctx
	}
	c.scope = c.route.scope(c.mesh.recorder, c.dest)
	ctx, c.span = c.scope.StartCall(ctx, c.in, c.mirrored)
	return ctx
}

// watched tells of the call that has ended.
func (c *Call) watched(d *CallDone) {
	c.scope.Done(c.span, telemetry.Call{
		Request: d.Request, Endpoint: d.Endpoint, Status: d.Status, Class: d.Class, Reason: d.Reason,
		Attempts: d.Attempts, Duration: d.Duration, Mirrored: c.mirrored, Err: d.Err,
	})
}

// watch begins the span of the attempt and returns the context for what
// follows. It comes after the request has its URL and before its header,
// which tells of the span.
func (a *attempt) watch(ctx context.Context) context.Context {
	ctx, a.span = a.call.scope.StartAttempt(ctx, a.call.span, &a.req, a.call.sent, a.target.Addr())
	if a.span != (telemetry.Span{}) {
		a.req = *a.req.WithContext(ctx)
	}
	return ctx
}

// watched tells of the attempt at its headers.
func (a *attempt) watched(resp *http.Response, r *outcome.Result, err error) {
	if a.call.scope == nil {
		return
	}
	a.call.scope.Attempted(a.span, telemetry.Attempt{
		Request: &a.req, Response: resp, Result: *r, Mirrored: a.call.mirrored, Err: err,
	})
}

// pay gives the permit of the service its result. That this has opened the
// breaker is an event of the span: it was the last straw.
func (a *attempt) pay(r outcome.Result) {
	b := a.call.dest.breaker
	if b == nil || a.span == (telemetry.Span{}) {
		a.permit.Done(r)
		return
	}
	was := b.State()
	a.permit.Done(r)
	if was != breaker.Open && b.State() == breaker.Open {
		a.span.Event("tulle.breaker.open")
	}
}
