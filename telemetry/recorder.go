package telemetry

import (
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// instrumentation is the name of the scope that spans and metrics belong to.
const instrumentation = "github.com/tulle-mesh/tulle"

// Options say where telemetry goes. What is nil is off.
type Options struct {
	// Tracers makes the tracer of spans.
	Tracers trace.TracerProvider
	// Meters makes the meter of metrics.
	Meters metric.MeterProvider
	// Propagator writes the trace context of what is sent, and reads that of
	// what is served. Nil is that of
	// W3C, with baggage, if there are Tracers, and otherwise none. One that
	// writes nothing is propagation.NewCompositeTextMapPropagator().
	Propagator propagation.TextMapPropagator
	// AccessLog gets a line for each call and for each request served: Info,
	// or Warn for one that failed or was answered with 500 or above.
	AccessLog *slog.Logger
	// Collect gives the values of what is only read when it is asked for. It
	// is called by readers of Meters, possibly by several at once.
	Collect func(emit func(Point))
	// Version is that of the instrumentation, empty if it is not known.
	Version string
}

// Recorder records calls. It is made by New and safe for concurrent use.
type Recorder struct {
	tracer     trace.Tracer // nil if there are no spans
	propagator propagation.TextMapPropagator
	fields     []string // that the propagator writes and that belong to the trace
	log        *slog.Logger
	// All are nil if there are no metrics.
	requests, calls, served metric.Float64Histogram
	collecting              metric.Registration
	server                  Server
}

// durations are the boundaries that the conventions advise, in seconds.
func durations() metric.Float64HistogramOption {
	return metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10)
}

// New returns a Recorder, or why the meter refuses its instruments.
func New(o Options) (*Recorder, error) {
	r := &Recorder{propagator: o.Propagator, log: o.AccessLog}
	if o.Tracers != nil {
		r.tracer = o.Tracers.Tracer(instrumentation,
			trace.WithInstrumentationVersion(o.Version), trace.WithSchemaURL(semconv.SchemaURL))
		if r.propagator == nil {
			r.propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
		}
	}
	r.fields = traceFields(r.propagator)
	r.server.recorder = r
	if o.Meters == nil {
		return r, nil
	}
	meter := o.Meters.Meter(instrumentation,
		metric.WithInstrumentationVersion(o.Version), metric.WithSchemaURL(semconv.SchemaURL))
	var requests, calls, served, collect error
	r.requests, requests = meter.Float64Histogram("http.client.request.duration", metric.WithUnit("s"), durations(),
		metric.WithDescription("Duration of HTTP client requests."))
	r.calls, calls = meter.Float64Histogram("tulle.call.duration", metric.WithUnit("s"), durations(),
		metric.WithDescription("Duration of calls, all attempts and the body of the response included."))
	r.served, served = meter.Float64Histogram("http.server.request.duration", metric.WithUnit("s"), durations(),
		metric.WithDescription("Duration of HTTP server requests."))
	r.collecting, collect = observe(meter, &r.server, o.Collect)
	if err := errors.Join(requests, calls, served, collect); err != nil {
		_ = r.Close() // the first error says more
		return nil, err
	}
	return r, nil
}

// Close ends the collection of metrics. Calls are still recorded.
func (r *Recorder) Close() error {
	if r == nil || r.collecting == nil {
		return nil
	}
	return r.collecting.Unregister()
}
