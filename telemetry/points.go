package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Metric is one of the metrics that are read when a reader asks for them.
type Metric uint8

// The documentation of the package has a table of them.
const (
	// CallsActive: calls under way, up to the end of the body.
	CallsActive Metric = iota
	// CallsLocal: calls that the mesh answered, refused or gave up; Kind is
	// the outcome.Reason.
	CallsLocal
	// CallsUnknown: calls to hosts that nothing knows; Kind is "passed" or
	// "refused".
	CallsUnknown
	// SplitCalls: calls that fell to one part of a route's split.
	SplitCalls
	// Attempts: attempts sent.
	Attempts
	// AttemptsActive: attempts under way, up to the end of the body.
	AttemptsActive
	// Retries: retries made; Kind is the outcome.Class that they answered.
	Retries
	// RetriesDenied: retries that a result asked for and that were not made;
	// Kind says why.
	RetriesDenied
	// RetryBudget: how many retries could be made at once now; Kind is the
	// budget's policy.
	RetryBudget
	// Endpoints: endpoints known; Kind is "available" or what holds them.
	Endpoints
	// Ejections: how often endpoints were left out; Kind is for what.
	Ejections
	// BreakerState: 0 for closed, 1 for half-open, 2 for open; Kind is the
	// mode, and of several breakers the worst counts.
	BreakerState
	// BreakerIncidents: how often breakers have opened; Kind is the mode.
	BreakerIncidents
	// LimitActive: attempts that hold a place in the concurrency limit; Kind
	// is the mode.
	LimitActive
	// LimitWaiting: attempts that wait for one; Kind is the mode.
	LimitWaiting
	// DiscoveryFailing: for how long discovery has failed, 0 while it works.
	DiscoveryFailing
	// FaultsInjected: faults injected; Kind is "delay" or "abort".
	FaultsInjected
	// MirrorCopies: copies of requests; Kind is what became of them.
	MirrorCopies
	numMetrics
)

// Point is the value of a Metric at one moment. What is empty is no
// attribute.
type Point struct {
	Metric Metric
	// Service, Subset and Route are names in the mesh.
	Service, Subset, Route string
	// Kind is the value of the metric's own attribute, if it has one.
	Kind string
	// Value is a total since the mesh was made for what is counted, and the
	// present value for the rest; durations are in seconds.
	Value float64
}

type kind uint8

const (
	counter kind = iota
	sum          // goes up and down, and adds up
	gauge
)

func (k kind) String() string { return [...]string{"counter", "updowncounter", "gauge"}[k] }

// metricRow is what there is to say about a Metric.
type metricRow struct {
	name, unit string
	kind       kind
	// key is the name of the metric's own attribute.
	key         string
	description string
}

var metricRows = [numMetrics]metricRow{
	CallsActive:      {"tulle.call.active", "{call}", sum, "", "Calls under way, up to the end of the body."},
	CallsLocal:       {"tulle.call.local", "{call}", counter, "tulle.reason", "Calls that the mesh itself answered, refused or gave up."},
	CallsUnknown:     {"tulle.call.unknown_host", "{call}", counter, "tulle.result", "Calls to hosts that neither service nor route knows."},
	SplitCalls:       {"tulle.split.calls", "{call}", counter, "", "Calls by the part of a route's split that they fell to."},
	Attempts:         {"tulle.attempt.sent", "{attempt}", counter, "", "Attempts sent."},
	AttemptsActive:   {"tulle.attempt.active", "{attempt}", sum, "", "Attempts under way, up to the end of the body."},
	Retries:          {"tulle.retry.made", "{retry}", counter, "tulle.class", "Retries by the class of the result that they answered."},
	RetriesDenied:    {"tulle.retry.denied", "{retry}", counter, "tulle.verdict", "Retries that a result asked for and that were not made."},
	RetryBudget:      {"tulle.retry.budget", "{retry}", gauge, "tulle.budget", "Retries that could be made at once now."},
	Endpoints:        {"tulle.endpoint.known", "{endpoint}", sum, "tulle.state", "Endpoints by what holds them, or available."},
	Ejections:        {"tulle.endpoint.ejections", "{ejection}", counter, "tulle.state", "How often endpoints were left out, by what for."},
	BreakerState:     {"tulle.breaker.state", "{state}", gauge, "tulle.mode", "The service's breaker: 0 closed, 1 half-open, 2 open."},
	BreakerIncidents: {"tulle.breaker.incidents", "{incident}", counter, "tulle.mode", "How often the service's breaker has opened."},
	LimitActive:      {"tulle.limit.active", "{attempt}", sum, "tulle.mode", "Attempts that hold a place in the service's limit."},
	LimitWaiting:     {"tulle.limit.waiting", "{attempt}", sum, "tulle.mode", "Attempts that wait for a place in the service's limit."},
	DiscoveryFailing: {"tulle.discovery.failing", "s", gauge, "", "For how long discovery has failed, 0 while it works."},
	FaultsInjected:   {"tulle.fault.injected", "{fault}", counter, "tulle.fault", "Faults injected."},
	MirrorCopies:     {"tulle.mirror.copies", "{copy}", counter, "tulle.result", "Copies of requests by what became of them."},
}

// observe has the meter ask collect for points.
func observe(m metric.Meter, collect func(emit func(Point))) (metric.Registration, error) {
	ints := [numMetrics]metric.Int64Observable{}
	floats := [numMetrics]metric.Float64Observable{}
	all := make([]metric.Observable, 0, numMetrics)
	var faults []error
	for i, row := range metricRows {
		unit, text := metric.WithUnit(row.unit), metric.WithDescription(row.description)
		var o metric.Observable
		var err error
		switch row.kind {
		case counter:
			ints[i], err = m.Int64ObservableCounter(row.name, unit, text)
			o = ints[i]
		case sum:
			ints[i], err = m.Int64ObservableUpDownCounter(row.name, unit, text)
			o = ints[i]
		case gauge:
			floats[i], err = m.Float64ObservableGauge(row.name, unit, text)
			o = floats[i]
		}
		all, faults = append(all, o), append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return m.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		collect(func(p Point) {
			if p.Metric >= numMetrics {
				return
			}
			set := metric.WithAttributes(p.attributes()...)
			if o := floats[p.Metric]; o != nil {
				to.ObserveFloat64(o, p.Value, set)
				return
			}
			to.ObserveInt64(ints[p.Metric], int64(p.Value), set)
		})
		return nil
	}, all...)
}

func (p *Point) attributes() []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, 4)
	for _, kv := range [...]attribute.KeyValue{
		serviceKey.String(p.Service), subsetKey.String(p.Subset), routeKey.String(p.Route),
		attribute.String(metricRows[p.Metric].key, p.Kind),
	} {
		if kv.Key != "" && kv.Value.AsString() != "" {
			all = append(all, kv)
		}
	}
	return all
}
