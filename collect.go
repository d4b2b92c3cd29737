package tulle

import (
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/telemetry"
)

// collect gives the metrics that are read when somebody asks: what the mesh
// has counted anyway. It takes no lock that a call needs.
func (m *Mesh) collect(emit func(telemetry.Point)) {
	p := m.plan.Load()
	if p == nil {
		return
	}
	emit(telemetry.Point{Metric: telemetry.CallsUnknown, Kind: "passed", Value: float64(m.passed.Load())})
	emit(telemetry.Point{Metric: telemetry.CallsUnknown, Kind: "refused", Value: float64(m.refused.Load())})
	now := time.Now()
	for name, s := range p.services {
		of := func(metric telemetry.Metric, kind string, v float64) {
			emit(telemetry.Point{Metric: metric, Service: name, Kind: kind, Value: v})
		}
		s.collect(of, now)
		for _, sub := range p.drafts[name] {
			for _, c := range sub.gen.Load().picks() {
				emit(telemetry.Point{Metric: telemetry.Picks, Service: name, Subset: sub.name, Kind: c.Reason, Value: float64(c.Picks)})
			}
		}
		p.collectBudgets(name, of)
		p.collectBreakers(name, of)
	}
	for _, r := range p.list {
		r.collect(emit)
	}
	m.collectInbound(p.guards, emit)
	for name, s := range p.faults() {
		emit(telemetry.Point{Metric: telemetry.FaultsInjected, Service: name, Kind: "delay", Value: float64(s.Delayed)})
		emit(telemetry.Point{Metric: telemetry.FaultsInjected, Service: name, Kind: "abort", Value: float64(s.Aborted)})
	}
}

// emission gives a metric of one service.
type emission = func(metric telemetry.Metric, kind string, v float64)

func (s *service) collect(emit emission, now time.Time) {
	emit(telemetry.CallsActive, "", float64(s.stats.active.Load()))
	for _, r := range outcome.Reasons() {
		if n := s.stats.reasons[r].Load(); n > 0 {
			emit(telemetry.CallsLocal, r.String(), float64(n))
		}
	}
	collectRetries(s.retries.Stats(), emit)
	emit(telemetry.SentBack, "", float64(s.sentBack.Load()))

	v := s.view.Load()
	states, inFlight := map[string]int{"available": 0}, int64(0)
	for _, t := range v.members {
		inFlight += t.InFlight()
		state := "available"
		if holds := t.Availability().Holds(); len(holds) > 0 {
			state = holds[0].String()
		}
		states[state]++
	}
	emit(telemetry.AttemptsActive, "", float64(inFlight))
	for state, n := range states {
		emit(telemetry.Endpoints, state, float64(n))
	}
	for h := range endpoint.Removed {
		if n := s.leftOut[h].Load(); n > 0 {
			emit(telemetry.Ejections, h.String(), float64(n))
		}
	}
	failing := 0.
	if v.watch != nil {
		if since, cause := v.watch.status(); cause != nil {
			failing = max(0, now.Sub(since).Seconds())
		}
	}
	emit(telemetry.DiscoveryFailing, "", failing)
}

func collectRetries(s retry.Stats, emit emission) {
	emit(telemetry.Attempts, "", float64(s.Attempts))
	for class, n := range s.Causes {
		emit(telemetry.Retries, class.String(), float64(n))
	}
	for _, denied := range [...]struct {
		why string
		n   uint64
	}{
		{"exhausted", s.Exhausted}, {"not_safe", s.NotSafe}, {"unreplayable", s.Unreplayable}, {"asked_to_wait", s.AskedToWait},
		{"no_time", s.NoTime}, {"over_budget", s.OverBudget}, {"unprepared", s.Unprepared}, {"cancelled", s.Cancelled},
		{"observed", s.WouldRetry},
	} {
		if denied.n > 0 {
			emit(telemetry.RetriesDenied, denied.why, float64(denied.n))
		}
	}
}

func (p *plan) collectBudgets(service string, emit emission) {
	for key, b := range p.budgets {
		s := b.Stats()
		if key.service != service || s.Balance < 0 {
			continue // one without bound has no balance
		}
		kind := fmt.Sprintf("%g+%d/s", key.policy.Ratio, key.policy.MinPerSecond)
		if key.mode == outcome.Observe {
			kind += " (observe)"
		}
		emit(telemetry.RetryBudget, kind, s.Balance)
	}
}

// collectBreakers gives breakers and limits by mode: how many of them a
// service has is a matter of its routes.
func (p *plan) collectBreakers(service string, emit emission) {
	for _, mode := range [...]outcome.Mode{outcome.Enforce, outcome.Observe} {
		state, opened, breakers := 0., uint64(0), 0
		for key, b := range p.breakers {
			if key.service == service && key.policy.Mode == mode {
				s := b.Stats()
				breakers, opened, state = breakers+1, opened+s.Opened, max(state, severity(s.State))
			}
		}
		if breakers > 0 {
			emit(telemetry.BreakerState, mode.String(), state)
			emit(telemetry.BreakerIncidents, mode.String(), float64(opened))
		}
		active, waiting, limiters := 0, 0, 0
		for key, l := range p.limiters {
			if key.service == service && key.limit.Mode == mode {
				s := l.Stats()
				limiters, active, waiting = limiters+1, active+s.InFlight, waiting+s.Waiting
			}
		}
		if limiters > 0 {
			emit(telemetry.LimitActive, mode.String(), float64(active))
			emit(telemetry.LimitWaiting, mode.String(), float64(waiting))
		}
	}
}

// severity orders the states of a breaker by what they mean for calls.
func severity(s breaker.State) float64 {
	switch s {
	case breaker.Open:
		return 2
	case breaker.HalfOpen:
		return 1
	}
	return 0
}

func (r *route) collect(emit func(telemetry.Point)) {
	if r.answers() {
		for _, reason := range outcome.Reasons() {
			if n := r.stats.reasons[reason].Load(); n > 0 {
				emit(telemetry.Point{Metric: telemetry.CallsLocal, Route: r.name, Kind: reason.String(), Value: float64(n)})
			}
		}
	}
	parts := map[telemetry.Point]float64{}
	for i, d := range r.dests {
		parts[telemetry.Point{Metric: telemetry.SplitCalls, Route: r.name, Service: d.service.name, Subset: d.subset.name}] +=
			float64(r.calls[i].Load())
	}
	for _, m := range r.mirrors {
		s := m.mirror.Stats()
		for kind, n := range map[string]uint64{"sent": s.Sent - min(s.Sent, s.Failed), "failed": s.Failed, "full": s.Full, "unread": s.Unread} {
			parts[telemetry.Point{
				Metric: telemetry.MirrorCopies, Route: r.name, Service: m.dest.service.name, Subset: m.dest.subset.name, Kind: kind,
			}] += float64(n)
		}
	}
	for point, v := range parts {
		point.Value = v
		emit(point)
	}
}

// faults returns what was injected, by service. A policy that is for several
// services is counted under no name, for it does not count them apart.
func (p *plan) faults() map[string]fault.Stats {
	of := map[*fault.Injector]string{}
	for key, d := range p.made {
		if d.fault == nil || d.policies.Fault.Mode == outcome.Observe {
			continue
		}
		if name, ok := of[d.fault]; ok && name != key.service {
			of[d.fault] = ""
			continue
		}
		of[d.fault] = key.service
	}
	all := map[string]fault.Stats{}
	for injector, name := range of {
		s, sum := injector.Stats(), all[name]
		all[name] = fault.Stats{Matched: sum.Matched + s.Matched, Delayed: sum.Delayed + s.Delayed, Aborted: sum.Aborted + s.Aborted}
	}
	return all
}
