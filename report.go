package tulle

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// Report tells what the policies under Mode Observe would have done since the
// mesh was made, or since they came, and what became of the calls that they
// would have done it to. It is for the day on which Observe is to become
// Enforce.
type Report struct {
	// At is when the report was made.
	At time.Time `json:"at"`
	// UnknownHosts is of Config.RefuseUnknownHosts, nil unless that observes.
	UnknownHosts *PolicyReport `json:"unknownHosts,omitempty"`
	// Inbound are the policies for requests that come to the process.
	Inbound []PolicyReport `json:"inbound,omitempty"`
	// Services are those that have a policy under Observe, in order of their
	// names.
	Services []ServiceReport `json:"services,omitempty"`
}

// ServiceReport is the part of a Report about one service.
type ServiceReport struct {
	Name     string         `json:"name"`
	Policies []PolicyReport `json:"policies"`
}

// PolicyReport tells what one policy would have done.
type PolicyReport struct {
	// Policy is the name of the field of Policies, such as "breaker".
	Policy string `json:"policy"`
	// Verb is what the policy does to calls: "refuse", "repeat", "disturb",
	// or "send elsewhere".
	Verb string `json:"verb"`
	// Would counts the attempts to which it would have been done; Succeeded
	// those of them that did not fail. For faults it counts calls, of which
	// nothing is known, and what a retry would have repeated did fail.
	Would     uint64 `json:"would"`
	Succeeded uint64 `json:"succeeded"`
	// Endpoints are those that the policy would leave out now, or has
	// anything to say about.
	Endpoints []EndpointReport `json:"endpoints,omitempty"`
}

// EndpointReport tells what a policy would have done to one endpoint.
type EndpointReport struct {
	Addr string `json:"addr"`
	// LeftOut is true if the endpoint would be left out now.
	LeftOut bool `json:"leftOut"`
	// Would and Succeeded are the endpoint's part of those of the policy.
	Would     uint64 `json:"would"`
	Succeeded uint64 `json:"succeeded"`
}

// Report returns what Mode Observe has seen. It takes no lock that a call
// needs.
func (m *Mesh) Report() Report {
	p := m.plan.Load()
	r := Report{At: time.Now()}
	if p.refuse != nil && p.refuse.Mode == outcome.Observe {
		r.UnknownHosts = &PolicyReport{Policy: "refuseUnknownHosts", Verb: "refuse", Would: m.refused.Load(), Succeeded: m.missed.Load()}
	}
	r.Inbound = m.inboundReport(p.guards)
	for name, s := range p.services {
		if policies := s.report(p); len(policies) > 0 {
			r.Services = append(r.Services, ServiceReport{name, policies})
		}
	}
	slices.SortFunc(r.Services, func(a, b ServiceReport) int { return cmp.Compare(a.Name, b.Name) })
	return r
}

func (s *service) report(p *plan) (all []PolicyReport) {
	for key, b := range p.breakers {
		if stats := b.Stats(); key.service == s.name && key.policy.Mode == outcome.Observe {
			all = append(all, PolicyReport{Policy: "breaker", Verb: "refuse", Would: stats.WouldRefuse, Succeeded: stats.WouldRefuseSucceeded})
		}
	}
	for key, l := range p.limiters {
		if stats := l.Stats(); key.service == s.name && key.limit.Mode == outcome.Observe {
			all = append(all, PolicyReport{Policy: "limit", Verb: "refuse", Would: stats.WouldRefuse, Succeeded: stats.WouldRefuseSucceeded})
		}
	}
	for key, l := range p.rates {
		if key.service != s.name {
			continue
		}
		for _, limit := range l.Stats().Policies {
			if slices.ContainsFunc(key.config.Policies, func(c ratelimit.Policy) bool {
				return c.Name == limit.Name && c.Mode == outcome.Observe
			}) {
				all = append(all, PolicyReport{Policy: "rateLimit " + limit.Name, Verb: "refuse", Would: limit.WouldRefuse, Succeeded: limit.WouldRefuseSucceeded})
			}
		}
	}
	injectors := map[*fault.Injector]bool{}
	repeats := false
	for key, d := range p.made {
		if key.service != s.name {
			continue
		}
		if r := d.policies.Retry; r != nil && r.Mode == outcome.Observe && !repeats {
			repeats = true
			// What was not repeated is what the call failed with.
			all = append(all, PolicyReport{Policy: "retry", Verb: "repeat", Would: s.retries.Stats().WouldRetry})
		}
		if f := d.policies.Fault; f != nil && f.Mode == outcome.Observe && !injectors[d.fault] {
			injectors[d.fault] = true
			stats := d.fault.Stats()
			all = append(all, PolicyReport{Policy: "fault", Verb: "disturb", Would: stats.Delayed + stats.Aborted})
		}
	}
	outliers := s.departed.outliers.report("outliers")
	breakers := s.departed.breakers.report("endpointBreaker")
	probes := s.departed.probes.report("probe")
	for _, t := range s.view.Load().members {
		f := t.feeds.Load()
		if f.record != nil {
			_, out := f.record.Out()
			stats := f.record.Stats()
			outliers.add(t, out, stats.WouldAvoid, stats.WouldAvoidSucceeded)
		}
		if f.breaker != nil {
			stats := f.breaker.Stats()
			breakers.add(t, f.breaker.State() != breaker.Closed, stats.WouldRefuse, stats.WouldRefuseSucceeded)
		}
		if f.checked != nil {
			probes.add(t, f.unhealthy(), f.notes.would.Load(), f.notes.succeeded.Load())
		}
	}
	asked := p.own[s.name].policies
	for _, r := range []struct {
		observed bool
		PolicyReport
	}{
		{orZero(asked.Outliers).Mode == outcome.Observe, outliers},
		{orZero(asked.EndpointBreaker).Mode == outcome.Observe, breakers},
		{orZero(asked.Probe).Mode == outcome.Observe, probes},
	} {
		if r.observed {
			all = append(all, r.PolicyReport)
		}
	}
	slices.SortFunc(all, func(a, b PolicyReport) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Would, b.Would))
	})
	return all
}

func (r *PolicyReport) add(t *target, out bool, would, succeeded uint64) {
	r.Would += would
	r.Succeeded += succeeded
	if out || would > 0 {
		r.Endpoints = append(r.Endpoints, EndpointReport{t.Addr(), out, would, succeeded})
	}
}

// departed are the counts of endpoints that are members no more.
type departed struct{ outliers, breakers, probes spared }

// spared counts attempts that an endpoint would not have had, and which of
// them succeeded.
type spared struct{ would, succeeded atomic.Uint64 }

func (s *spared) add(would, succeeded uint64) {
	s.would.Add(would)
	s.succeeded.Add(succeeded)
}

// count counts one that would not have been.
func (s *spared) count(succeeded bool) {
	s.would.Add(1)
	if succeeded {
		s.succeeded.Add(1)
	}
}

func (s *spared) report(policy string) PolicyReport {
	return PolicyReport{Policy: policy, Verb: "send elsewhere", Would: s.would.Load(), Succeeded: s.succeeded.Load()}
}

func (d *departed) add(f *feeds) {
	if f.record != nil {
		stats := f.record.Stats()
		d.outliers.add(stats.WouldAvoid, stats.WouldAvoidSucceeded)
	}
	if f.breaker != nil {
		stats := f.breaker.Stats()
		d.breakers.add(stats.WouldRefuse, stats.WouldRefuseSucceeded)
	}
	d.probes.add(f.notes.would.Load(), f.notes.succeeded.Load())
}

// String tells the report in sentences.
func (r Report) String() string {
	var lines []string
	if r.UnknownHosts != nil {
		lines = append(lines, "unknown hosts: "+r.UnknownHosts.String())
	}
	for _, p := range r.Inbound {
		lines = append(lines, "inbound: "+p.String())
	}
	for _, s := range r.Services {
		for _, p := range s.Policies {
			lines = append(lines, "service "+s.Name+": "+p.String())
		}
	}
	if len(lines) == 0 {
		return "no policy observes"
	}
	return strings.Join(lines, "\n")
}

// String tells what the policy would have done.
func (r PolicyReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s would have had to %s %d, of which %d succeeded", r.Policy, r.Verb, r.Would, r.Succeeded)
	for _, e := range r.Endpoints {
		if e.LeftOut {
			fmt.Fprintf(&b, "; would leave out %s now", e.Addr)
		}
	}
	return b.String()
}
