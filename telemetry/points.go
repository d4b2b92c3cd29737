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
	// SentBack: requests that came back unworked, as the server was busier than
	// the balancer had expected, and were sent elsewhere. They are not among
	// Attempts.
	SentBack
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
	// Picks: picks of endpoints by balancers that count why; Kind is the
	// reason.
	Picks
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
	// InboundRefused: requests that the mesh answered in the place of the
	// handler; Kind is the outcome.Reason.
	InboundRefused
	// InboundWouldRefuse: requests that policies under Observe would have
	// refused; Kind names the policy.
	InboundWouldRefuse
	// InboundRateLimited: requests that a policy of a rate limit refused; Kind
	// names the policy.
	InboundRateLimited
	// InboundUnauthenticated: requests whose token was not good, or was not
	// there, which is not always asked for; Kind is what was wrong.
	InboundUnauthenticated
	// InboundStripped: requests from which fields were taken that their peers
	// may not send.
	InboundStripped
	// InboundBadHints: requests whose Tulle-Call field could not be read.
	InboundBadHints
	// InboundLeaving: 1 once the process was told to stop, else 0.
	InboundLeaving
	// KeySetAge: how long ago a key set was last known to be what its issuer
	// publishes, or the mesh was made if it never was; Kind is its URL.
	KeySetAge
	// KeySetUsable: 1 while tokens can be verified with a key set, else 0;
	// Kind is its URL.
	KeySetUsable
	// OverloadLimit: how many requests the guard against overload lets in at
	// once; Kind is the mode.
	OverloadLimit
	// OverloadActive: requests that it has let in; Kind is the mode.
	OverloadActive
	// OverloadWaiting: requests that wait to be let in; Kind is the mode.
	OverloadWaiting
	// OverloadSentBack: requests that went back to their callers unworked, or
	// under Observe would have; Kind is the mode.
	OverloadSentBack
	numMetrics
)

// Point is the value of a Metric at one moment. What is empty is no
// attribute.
type Point struct {
	Metric Metric
	// Service, Subset and Route are names in the mesh.
	Service, Subset, Route string
	// Rule is the name of an inbound rule.
	Rule string
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
	SentBack:         {"tulle.attempt.sent_back", "{attempt}", counter, "", "Requests that came back unworked and were sent elsewhere."},
	Attempts:         {"tulle.attempt.sent", "{attempt}", counter, "", "Attempts sent."},
	AttemptsActive:   {"tulle.attempt.active", "{attempt}", sum, "", "Attempts under way, up to the end of the body."},
	Retries:          {"tulle.retry.made", "{retry}", counter, "tulle.class", "Retries by the class of the result that they answered."},
	RetriesDenied:    {"tulle.retry.denied", "{retry}", counter, "tulle.verdict", "Retries that a result asked for and that were not made."},
	RetryBudget:      {"tulle.retry.budget", "{retry}", gauge, "tulle.budget", "Retries that could be made at once now."},
	Picks:            {"tulle.balancer.picks", "{pick}", counter, "tulle.reason", "Picks of endpoints by what they were based on."},
	Endpoints:        {"tulle.endpoint.known", "{endpoint}", sum, "tulle.state", "Endpoints by what holds them, or available."},
	Ejections:        {"tulle.endpoint.ejections", "{ejection}", counter, "tulle.state", "How often endpoints were left out, by what for."},
	BreakerState:     {"tulle.breaker.state", "{state}", gauge, "tulle.mode", "The service's breaker: 0 closed, 1 half-open, 2 open."},
	BreakerIncidents: {"tulle.breaker.incidents", "{incident}", counter, "tulle.mode", "How often the service's breaker has opened."},
	LimitActive:      {"tulle.limit.active", "{attempt}", sum, "tulle.mode", "Attempts that hold a place in the service's limit."},
	LimitWaiting:     {"tulle.limit.waiting", "{attempt}", sum, "tulle.mode", "Attempts that wait for a place in the service's limit."},
	DiscoveryFailing: {"tulle.discovery.failing", "s", gauge, "", "For how long discovery has failed, 0 while it works."},
	FaultsInjected:   {"tulle.fault.injected", "{fault}", counter, "tulle.fault", "Faults injected."},
	MirrorCopies:     {"tulle.mirror.copies", "{copy}", counter, "tulle.result", "Copies of requests by what became of them."},

	InboundRefused:         {"tulle.inbound.refused", "{request}", counter, "tulle.reason", "Requests that the mesh answered in the place of the handler."},
	InboundWouldRefuse:     {"tulle.inbound.would_refuse", "{request}", counter, "tulle.policy", "Requests that policies under Observe would have refused."},
	InboundRateLimited:     {"tulle.inbound.rate_limited", "{request}", counter, "tulle.policy", "Requests that a policy of a rate limit refused."},
	InboundUnauthenticated: {"tulle.inbound.unauthenticated", "{request}", counter, "tulle.fault", "Requests without a good token, by what was wrong with it."},
	InboundStripped:        {"tulle.inbound.stripped", "{request}", counter, "", "Requests from which fields were taken that their peers may not send."},
	InboundBadHints:        {"tulle.inbound.bad_hints", "{request}", counter, "", "Requests whose Tulle-Call field could not be read."},
	InboundLeaving:         {"tulle.inbound.leaving", "{state}", gauge, "", "1 once the process was told to stop, else 0."},
	KeySetAge:              {"tulle.keyset.age", "s", gauge, "tulle.keyset", "For how long a key set has not been fetched."},
	KeySetUsable:           {"tulle.keyset.usable", "{state}", gauge, "tulle.keyset", "1 while tokens can be verified with a key set, else 0."},
	OverloadLimit:          {"tulle.overload.limit", "{request}", gauge, "tulle.mode", "Requests that may be in at once."},
	OverloadActive:         {"tulle.overload.active", "{request}", sum, "tulle.mode", "Requests that the guard against overload has let in."},
	OverloadWaiting:        {"tulle.overload.waiting", "{request}", sum, "tulle.mode", "Requests that wait to be let in."},
	OverloadSentBack:       {"tulle.overload.sent_back", "{request}", counter, "tulle.mode", "Requests that went back unworked, because the server was busier than their callers expected."},
}

// observe has the meter ask collect for points, if it is not nil, and the
// server for what is under way.
func observe(m metric.Meter, server *Server, collect func(emit func(Point))) (metric.Registration, error) {
	ints := [numMetrics]metric.Int64Observable{}
	floats := [numMetrics]metric.Float64Observable{}
	all := make([]metric.Observable, 0, numMetrics+1)
	var faults []error
	active, err := m.Int64ObservableUpDownCounter("http.server.active_requests", metric.WithUnit("{request}"),
		metric.WithDescription("Number of active HTTP server requests."))
	all, faults = append(all, active), append(faults, err)
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
		server.observe(to, active)
		if collect == nil {
			return nil
		}
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
	all := make([]attribute.KeyValue, 0, 5)
	for _, kv := range [...]attribute.KeyValue{
		serviceKey.String(p.Service), subsetKey.String(p.Subset), routeKey.String(p.Route), ruleKey.String(p.Rule),
		attribute.String(metricRows[p.Metric].key, p.Kind),
	} {
		if kv.Key != "" && kv.Value.AsString() != "" {
			all = append(all, kv)
		}
	}
	return all
}
