package tulle

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/mirror"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/routing"
)

// State is what a mesh knows at one moment: configuration in force, with all
// defaults filled in, and what was seen. It is a copy, has JSON names for
// Mesh.Debug, and leaves out the values of headers and query parameters whose
// names sound like secrets.
type State struct {
	// At is when the state was taken, Started when the mesh was made.
	At      time.Time `json:"at"`
	Started time.Time `json:"started"`
	// Version is that of the library in this binary.
	Version string `json:"version"`
	// Applied counts configurations; AppliedAt is when the present one came.
	Applied   uint64    `json:"applied"`
	AppliedAt time.Time `json:"appliedAt"`
	// ShuttingDown is true once Shutdown was called.
	ShuttingDown bool `json:"shuttingDown,omitempty"`
	// Unknown says what becomes of calls to hosts that nothing knows.
	Unknown UnknownState `json:"unknownHosts"`
	// Inbound is about requests that come to the process.
	Inbound InboundState `json:"inbound"`
	// Services are in order of their names, Routes in that of the
	// configuration.
	Services []ServiceState `json:"services"`
	Routes   []RouteState   `json:"routes,omitempty"`
}

// UnknownState tells of calls to hosts that neither service nor route knows.
type UnknownState struct {
	// Policy is "pass", "refuse" or "observe".
	Policy string `json:"policy"`
	// Passed counts calls let through, Refused those refused or, under
	// Observe, that would have been.
	Passed  uint64 `json:"passed"`
	Refused uint64 `json:"refused"`
}

// ServiceState is the state of a service.
type ServiceState struct {
	Name       string   `json:"name"`
	Hosts      []string `json:"hosts"`
	Protocol   Protocol `json:"protocol"`
	TLS        bool     `json:"tls,omitempty"`
	ServerName string   `json:"serverName,omitempty"`
	External   bool     `json:"external,omitempty"`
	// KeepLoadReports says that load reports stay in responses.
	KeepLoadReports bool `json:"keepLoadReports,omitempty"`
	// TraceContext says that trace context goes to an External service.
	TraceContext bool       `json:"traceContext,omitempty"`
	Balancer     string     `json:"balancer"`
	Classifier   string     `json:"classifier"`
	Key          *match.Key `json:"key,omitempty"`
	// Spread is how calls are divided over priorities and zones.
	Spread     balancer.Spread `json:"spread"`
	Connection Connection      `json:"connection"`
	MaxWait    time.Duration   `json:"maxWait,omitempty"`
	// Policies are those of calls by the service's own name, after
	// inheritance and with defaults filled in.
	Policies Policies `json:"policies"`

	// Discovery says how well the endpoints are known.
	Discovery DiscoveryState `json:"discovery"`
	// Parts are the priorities and zones that calls are divided over.
	Parts []balancer.Part `json:"parts,omitempty"`
	// Picks are how many picks the balancer made for each reason, if it counts
	// them.
	Picks []balancer.PickCount `json:"picks,omitempty"`
	// Endpoints are in order of their addresses.
	Endpoints []EndpointState `json:"endpoints"`
	Subsets   []SubsetState   `json:"subsets,omitempty"`

	// Calls counts the calls that had the service as their destination.
	Calls CallCounts `json:"calls"`
	// P50 and P95 are of the time to the response headers of attempts in the
	// last minute, 0 without any.
	P50 time.Duration `json:"p50,omitempty"`
	P95 time.Duration `json:"p95,omitempty"`
	// Retries counts what the loop decided, Budgets are what there is left
	// to retry with, one for each different policy.
	Retries retry.Stats   `json:"retries"`
	Budgets []BudgetState `json:"budgets,omitempty"`
	// SentBack counts requests that came back unworked, because the server was
	// busier than the balancer had expected, and were sent elsewhere. They are
	// not among Attempts of Retries.
	SentBack uint64 `json:"sentBack,omitempty"`
	// Breakers and Limits are those of the whole service, one for each
	// different policy.
	Breakers []BreakerState `json:"breakers,omitempty"`
	Limits   []LimitState   `json:"limits,omitempty"`
	// RateLimits are those of calls to the service.
	RateLimits []ratelimit.Stats `json:"rateLimits,omitempty"`
	// Faults counts injected ones, of all that the same policy is for.
	Faults *fault.Stats `json:"faults,omitempty"`
}

// DiscoveryState is the state of a resolver.
type DiscoveryState struct {
	Resolver string `json:"resolver"`
	// Answered is true once the resolver has given a set.
	Answered bool `json:"answered"`
	// Since is when it last answered or began to fail, whichever is the case,
	// zero while it has done neither.
	Since time.Time `json:"since,omitzero"`
	// Error is the first failure since the last set, empty if there is none.
	Error string `json:"error,omitempty"`
}

// SubsetState is the state of a subset.
type SubsetState struct {
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	Endpoints int               `json:"endpoints"`
	Available int               `json:"available"`
	Parts     []balancer.Part   `json:"parts,omitempty"`

	Picks []balancer.PickCount `json:"picks,omitempty"`
}

// EndpointState is the state of an endpoint.
type EndpointState struct {
	Addr     string            `json:"addr"`
	Weight   uint32            `json:"weight"`
	Priority uint32            `json:"priority,omitempty"`
	Region   string            `json:"region,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	// Known is since when the endpoint is known.
	Known time.Time `json:"known"`
	// Available says whether it is picked, since Since; Holds are why not.
	Available bool        `json:"available"`
	Since     time.Time   `json:"since"`
	Holds     []HoldState `json:"holds,omitempty"`
	InFlight  int64       `json:"inFlight"`
	Started   uint64      `json:"started"`
	OK        uint64      `json:"ok"`
	Failed    uint64      `json:"failed"`
	// Load is the last load report, nil if there was none.
	Load *endpoint.Load `json:"load,omitempty"`
	// RefusedReports are those that were not believed, nil without any.
	RefusedReports *RefusedReports `json:"refusedReports,omitempty"`
	// Outliers, Breaker and Probe are what judges the endpoint, nil without
	// the policy.
	Outliers *OutlierState      `json:"outliers,omitempty"`
	Breaker  *breaker.Stats     `json:"breaker,omitempty"`
	Probe    *health.ProbeStats `json:"probe,omitempty"`
}

// HoldState is one cause that keeps an endpoint from being picked.
type HoldState struct {
	Hold   endpoint.Hold `json:"hold"`
	Reason string        `json:"reason"`
	Since  time.Time     `json:"since"`
	// Due is when a call may try whether the endpoint works again, zero for
	// holds that calls cannot lift.
	Due time.Time `json:"due,omitzero"`
}

// OutlierState is what outlier detection knows of an endpoint.
type OutlierState struct {
	// Out is true while the endpoint is ejected or, under Observe, would be.
	Out bool `json:"out"`
	health.OutlierStats
}

// BreakerState is the breaker of a service.
type BreakerState struct {
	Policy breaker.Policy `json:"policy"`
	// RetryAfter is how long it still refuses.
	RetryAfter time.Duration `json:"retryAfter,omitempty"`
	breaker.Stats
}

// LimitState is a concurrency limit.
type LimitState struct {
	Limit breaker.Limit `json:"limit"`
	breaker.LimitStats
}

// BudgetState is a retry budget.
type BudgetState struct {
	retry.BudgetPolicy
	retry.BudgetStats
}

// RouteState is the state of a route.
type RouteState struct {
	Name    string             `json:"name"`
	Match   []match.Request    `json:"match,omitempty"`
	Split   []DestinationState `json:"split,omitempty"`
	Sticky  *match.Key         `json:"sticky,omitempty"`
	Filters routing.Filters    `json:"filters,omitzero"`
	// Mirrors have what became of copies.
	Mirrors []MirrorState `json:"mirrors,omitempty"`
	// Policies are the route's own, before what it inherits.
	Policies Policies   `json:"policies,omitzero"`
	Calls    CallCounts `json:"calls"`
	// P50 and P95 are of the time to the response headers of attempts in the
	// last minute, 0 without any.
	P50 time.Duration `json:"p50,omitempty"`
	P95 time.Duration `json:"p95,omitempty"`
}

// MirrorState is the state of a mirror.
type MirrorState struct {
	Mirror
	mirror.Stats
}

// DestinationState is one part of a split.
type DestinationState struct {
	Destination
	Policies Policies `json:"policies"`
	// Calls counts the calls that fell to this part.
	Calls uint64 `json:"calls"`
	// Faults counts injected ones, of all that the same policy is for.
	Faults *fault.Stats `json:"faults,omitempty"`
}

// State returns a snapshot. It takes no lock that a call needs.
func (m *Mesh) State() State {
	p := m.plan.Load()
	s := State{
		At: time.Now(), Started: m.started, Version: version(),
		Applied: m.applied.Load(), AppliedAt: *m.lastApply.Load(), ShuttingDown: m.closing.Load(),
		Unknown:  UnknownState{Policy: "pass", Passed: m.passed.Load(), Refused: m.refused.Load()},
		Inbound:  m.inboundState(p.guards),
		Services: make([]ServiceState, 0, len(p.config.Services)),
	}
	if p.refuse != nil {
		s.Unknown.Policy = map[outcome.Mode]string{outcome.Enforce: "refuse", outcome.Observe: "observe"}[p.refuse.Mode]
	}
	for i := range p.config.Services {
		c := &p.config.Services[i]
		s.Services = append(s.Services, p.services[c.Name].state(c, p, s.At))
	}
	slices.SortFunc(s.Services, func(a, b ServiceState) int { return cmp.Compare(a.Name, b.Name) })
	for i, r := range p.list {
		s.Routes = append(s.Routes, r.state(&p.config.Routes[i], s.At))
	}
	return s
}

func (s *service) state(c *Service, p *plan, now time.Time) ServiceState {
	out := ServiceState{
		Name: s.name, Hosts: slices.Clone(c.hosts()), Protocol: c.Protocol, TLS: c.TLS != nil,
		External: c.External, KeepLoadReports: c.KeepLoadReports, TraceContext: c.TraceContext,
		Connection: c.Connection.withDefaults(), MaxWait: c.MaxWait,
		Spread:   c.Spread.Effective(),
		Balancer: describe(c.balancer()), Classifier: describe(c.classifier()), Key: clonePtr(c.Key),
		Policies: c.policies(&p.config).effective(),
		Calls:    s.stats.snapshot(), Retries: s.retries.Stats(), SentBack: s.sentBack.Load(),
		P50: s.latency.Quantile(.5, now), P95: s.latency.Quantile(.95, now),
	}
	if c.TLS != nil {
		out.ServerName = c.TLS.ServerName
	}
	out.Faults = p.own[c.Name].faults()
	v := s.view.Load()
	out.Discovery = v.watch.state()
	for _, t := range v.members {
		out.Endpoints = append(out.Endpoints, t.state(now))
	}
	whole := p.drafts[s.name][""].gen.Load()
	out.Parts, out.Picks = whole.parts(), whole.picks()
	for _, sub := range c.Subsets {
		g := p.drafts[s.name][sub.Name].gen.Load()
		out.Subsets = append(out.Subsets, SubsetState{
			Name: sub.Name, Labels: maps.Clone(sub.Labels), Endpoints: g.known, Available: g.known - g.held,
			Parts: g.parts(), Picks: g.picks(),
		})
	}
	for key, b := range p.budgets {
		if key.service == s.name {
			out.Budgets = append(out.Budgets, BudgetState{key.policy, b.Stats()})
		}
	}
	slices.SortFunc(out.Budgets, func(a, b BudgetState) int {
		return cmp.Or(cmp.Compare(a.Ratio, b.Ratio), cmp.Compare(a.MinPerSecond, b.MinPerSecond))
	})
	for key, b := range p.breakers {
		if key.service == s.name {
			out.Breakers = append(out.Breakers, BreakerState{key.policy, b.RetryAfter(now), b.Stats()})
		}
	}
	slices.SortFunc(out.Breakers, func(a, b BreakerState) int { return compareText(a.Policy, b.Policy) })
	for key, l := range p.limiters {
		if key.service == s.name {
			out.Limits = append(out.Limits, LimitState{key.limit, l.Stats()})
		}
	}
	for key, l := range p.rates {
		if key.service == s.name {
			out.RateLimits = append(out.RateLimits, l.Stats())
		}
	}
	slices.SortFunc(out.RateLimits, func(a, b ratelimit.Stats) int { return compareText(a.Policies, b.Policies) })
	slices.SortFunc(out.Limits, func(a, b LimitState) int { return compareText(a.Limit, b.Limit) })
	return out
}

// compareText orders what has no order of its own, so that State does not
// change from one look to the next.
func compareText(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) }

// parts returns how calls are divided.
func (g *generation) parts() []balancer.Part {
	if g.division == nil {
		return nil
	}
	return g.division.Parts()
}

// picks returns for what reasons the balancer picked.
func (g *generation) picks() []balancer.PickCount {
	if g.division == nil {
		return nil
	}
	return g.division.Picks()
}

func (d *destination) faults() *fault.Stats {
	if d.fault == nil {
		return nil
	}
	s := d.fault.Stats()
	return &s
}

func (w *watch) state() DiscoveryState {
	d := DiscoveryState{Resolver: fmt.Sprintf("%T", w.resolver), Answered: w.inUse()}
	since, cause := w.status()
	if d.Since = since; cause != nil {
		d.Error = cause.Error()
	}
	return d
}

func (t *target) state(now time.Time) EndpointState {
	info, avail, counts := t.Info(), t.Availability(), t.Counts()
	s := EndpointState{
		Addr: t.Addr(), Weight: t.Weight(), Priority: info.Priority, Region: info.Region, Zone: info.Zone,
		Labels: maps.Clone(info.Labels), Known: t.Since(), Available: avail.Available(), Since: avail.Since(),
		InFlight: t.InFlight(), Started: counts.Started, OK: counts.OK, Failed: counts.Failed, Load: t.Load(),
	}
	f := t.feeds.Load()
	s.RefusedReports = f.notes.refused.state()
	for _, h := range avail.Holds() {
		_, reason, since := avail.Held(h)
		s.Holds = append(s.Holds, HoldState{Hold: h, Reason: reason, Since: since, Due: f.due(h, now)})
	}
	if f.record != nil {
		_, out := f.record.Out()
		s.Outliers = &OutlierState{out, f.record.Stats()}
	}
	if f.breaker != nil {
		stats := f.breaker.Stats()
		s.Breaker = &stats
	}
	if f.checked != nil {
		stats := f.checked.Stats()
		s.Probe = &stats
	}
	return s
}

func (r *route) state(c *Route, now time.Time) RouteState {
	s := RouteState{
		Name: r.name, Match: redactMatches(c.Match), Sticky: clonePtr(c.Sticky), Filters: redactFilters(c.Filters),
		Policies: c.Policies.redacted(), Calls: r.stats.snapshot(),
		P50: r.latency.Quantile(.5, now), P95: r.latency.Quantile(.95, now),
	}
	for _, m := range r.mirrors {
		effective := m.config
		effective.Policy = effective.Policy.Effective()
		s.Mirrors = append(s.Mirrors, MirrorState{effective, m.mirror.Stats()})
	}
	for i, d := range r.dests {
		s.Split = append(s.Split, DestinationState{c.Split[i], d.policies.effective(), r.calls[i].Load(), d.faults()})
	}
	return s
}

// describe names what is plugged in by its type and, where that is plain data
// of this module, by what is set in it. What a pointer leads to may be
// changing, and what others keep may be secret.
func describe(v any) string {
	if t := reflect.TypeOf(v); t.Kind() == reflect.Pointer || !strings.HasPrefix(t.PkgPath(), "github.com/tulle-mesh/tulle/") {
		return t.String()
	}
	if p, ok := v.(balancer.LoadFed); ok {
		v = p.Effective()
	}
	return fmt.Sprintf("%T%+v", v, v)
}

func version() string {
	const path = "github.com/tulle-mesh/tulle"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Path == path {
		return info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == path {
			return d.Version
		}
	}
	return "unknown"
}
