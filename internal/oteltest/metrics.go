package oteltest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/embedded"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
)

// Metrics is a MeterProvider that keeps every value. The zero value is ready
// for use. Instruments that the core does not use do nothing.
type Metrics struct {
	embedded.MeterProvider
	// Refuse is the name of an instrument that is not made.
	Refuse string

	mu        sync.Mutex
	recorded  []Value
	units     map[string]string
	callbacks map[*registration]metric.Callback
}

// Value is one measurement.
type Value struct {
	Name string
	// Attributes are written as "a=b,c=d", in order.
	Attributes string
	Value      float64
	// Trace is that of the context in which it was recorded.
	Trace trace.TraceID
}

// Meter implements metric.MeterProvider.
func (m *Metrics) Meter(string, ...metric.MeterOption) metric.Meter { return &meter{metrics: m} }

// Recorded returns what was recorded for a histogram.
func (m *Metrics) Recorded(name string) (found []Value) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.recorded {
		if v.Name == name {
			found = append(found, v)
		}
	}
	return found
}

// Units returns the units of all instruments made, by their names.
func (m *Metrics) Units() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]string{}
	maps.Copy(all, m.units)
	return all
}

// Collect calls the callbacks and returns what they observe, each by its name
// and attributes, "name{a=b}". A value that is observed twice is an error.
func (m *Metrics) Collect() (map[string]float64, error) {
	m.mu.Lock()
	callbacks := make([]metric.Callback, 0, len(m.callbacks))
	for _, f := range m.callbacks {
		callbacks = append(callbacks, f)
	}
	m.mu.Unlock()
	o := &observer{seen: map[string]float64{}}
	for _, f := range callbacks {
		o.fault = errors.Join(o.fault, f(context.Background(), o))
	}
	return o.seen, o.fault
}

type meter struct {
	noop.Meter
	metrics *Metrics
}

type refusedError struct{ name string }

func (e *refusedError) Error() string { return e.name + " is refused" }

func (m *meter) make(name, unit string) error {
	m.metrics.mu.Lock()
	defer m.metrics.mu.Unlock()
	if name == m.metrics.Refuse {
		return &refusedError{name}
	}
	if m.metrics.units == nil {
		m.metrics.units = map[string]string{}
	}
	m.metrics.units[name] = unit
	return nil
}

type histogram struct {
	noop.Float64Histogram
	metrics *Metrics
	name    string
}

func (m *meter) Float64Histogram(name string, opts ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return &histogram{metrics: m.metrics, name: name}, m.make(name, metric.NewFloat64HistogramConfig(opts...).Unit())
}

func (h *histogram) Record(ctx context.Context, v float64, opts ...metric.RecordOption) {
	set := metric.NewRecordConfig(opts).Attributes()
	h.metrics.mu.Lock()
	defer h.metrics.mu.Unlock()
	h.metrics.recorded = append(h.metrics.recorded, Value{
		Name: h.name, Attributes: text(set), Value: v, Trace: trace.SpanContextFromContext(ctx).TraceID(),
	})
}

func text(set attribute.Set) string {
	var all []string
	for _, kv := range set.ToSlice() {
		all = append(all, string(kv.Key)+"="+kv.Value.String())
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

type observedInt struct {
	noop.Int64ObservableCounter
	name string
}

type observedSum struct {
	noop.Int64ObservableUpDownCounter
	name string
}

type observedGauge struct {
	noop.Float64ObservableGauge
	name string
}

func (m *meter) Int64ObservableCounter(name string, opts ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return &observedInt{name: name}, m.make(name, metric.NewInt64ObservableCounterConfig(opts...).Unit())
}

func (m *meter) Int64ObservableUpDownCounter(name string, opts ...metric.Int64ObservableUpDownCounterOption) (metric.Int64ObservableUpDownCounter, error) {
	return &observedSum{name: name}, m.make(name, metric.NewInt64ObservableUpDownCounterConfig(opts...).Unit())
}

func (m *meter) Float64ObservableGauge(name string, opts ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return &observedGauge{name: name}, m.make(name, metric.NewFloat64ObservableGaugeConfig(opts...).Unit())
}

type registration struct {
	embedded.Registration
	metrics *Metrics
}

func (m *meter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.metrics.mu.Lock()
	defer m.metrics.mu.Unlock()
	r := &registration{metrics: m.metrics}
	if m.metrics.callbacks == nil {
		m.metrics.callbacks = map[*registration]metric.Callback{}
	}
	m.metrics.callbacks[r] = f
	return r, nil
}

func (r *registration) Unregister() error {
	r.metrics.mu.Lock()
	defer r.metrics.mu.Unlock()
	delete(r.metrics.callbacks, r)
	return nil
}

type observer struct {
	embedded.Observer
	seen  map[string]float64
	fault error
}

func (o *observer) observe(name string, v float64, opts []metric.ObserveOption) {
	set := metric.NewObserveConfig(opts).Attributes()
	key := name
	if set.Len() > 0 {
		key += "{" + text(set) + "}"
	}
	if _, ok := o.seen[key]; ok {
		o.fault = errors.Join(o.fault, errors.New(key+" is observed twice"))
	}
	o.seen[key] = v
}

func (o *observer) ObserveInt64(i metric.Int64Observable, v int64, opts ...metric.ObserveOption) {
	switch i := i.(type) {
	case *observedInt:
		o.observe(i.name, float64(v), opts)
	case *observedSum:
		o.observe(i.name, float64(v), opts)
	}
}

func (o *observer) ObserveFloat64(i metric.Float64Observable, v float64, opts ...metric.ObserveOption) {
	if i, ok := i.(*observedGauge); ok {
		o.observe(i.name, v, opts)
	}
}
