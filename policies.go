package tulle

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
)

// Policies are what a call is subject to. A nil or zero field is taken from
// the next wider Policies: those of the route, then of the service, then of
// the Config. What is set nowhere is off.
type Policies struct {
	// Timeout bounds the whole call, all its attempts and the body of its
	// response. Zero is unset, negative is none.
	Timeout time.Duration `json:"timeout,omitzero"`
	// Retry repeats attempts that failed.
	Retry *retry.Policy `json:"retry,omitzero"`
	// Fault injects trouble, for seeing what it does. A response that it
	// gives is marked by its Proxy-Status field.
	Fault *fault.Policy `json:"fault,omitzero"`
	// Breaker refuses calls to a service while they are likely to fail. All
	// calls to the service under equal policies share one.
	Breaker *breaker.Policy `json:"breaker,omitzero"`
	// Limit bounds how many attempts are under way at once, up to the end of
	// their bodies, and how many wait. All calls to the service under equal
	// policies share one.
	Limit *breaker.Limit `json:"limit,omitzero"`
	// RateLimit bounds how many calls are made in a time, before anything else
	// is done for them; they wait for their turn within its MaxWait, and within
	// Timeout, which goes on meanwhile. A policy
	// that is used in several places, through the same pointer, has one set of
	// buckets for each service.
	RateLimit *ratelimit.Config `json:"rateLimit,omitzero"`
	// Outliers leaves endpoints out for a while that fail where others do
	// not. It is for services, not for routes.
	Outliers *health.Outliers `json:"outliers,omitzero"`
	// EndpointBreaker gives each endpoint a breaker of its own, which leaves
	// the endpoint out in the place of refusing calls. How many endpoints may
	// be left out at once is as for Outliers. It is for services, not for
	// routes.
	EndpointBreaker *breaker.Policy `json:"endpointBreaker,omitzero"`
	// Probe asks each endpoint now and then whether it works, and leaves out
	// those that do not. HTTP probes speak TLS where Service.TLS is present.
	// It is for services, not for routes, and an External service does not
	// inherit it.
	Probe *health.Probe `json:"probe,omitzero"`
}

// Recommended returns the policies that we would run ourselves: two attempts
// for what can safely be repeated, within a budget, and endpoints left out
// that fail where others do not. Which time-out is right only you can know.
func Recommended() Policies {
	return Policies{Retry: &retry.Policy{}, Outliers: &health.Outliers{}}
}

// validate reports faults of the fields one by one, validateTogether those
// of what is in force after inheritance.
func (p Policies) validate(f *faults) {
	validate(f, "retry", p.Retry)
	validate(f, "fault", p.Fault)
	validate(f, "breaker", p.Breaker)
	validate(f, "limit", p.Limit)
	validate(f, "rateLimit", p.RateLimit)
	if p.RateLimit != nil {
		for i, limit := range p.RateLimit.Policies {
			if limit.Key.Route || limit.Key.Source {
				f.add("rateLimit.policies[%d].key: route and source are for requests that come in", i)
			}
		}
	}
	validate(f, "outliers", p.Outliers)
	validate(f, "endpointBreaker", p.EndpointBreaker)
	validate(f, "probe", p.Probe)
}

func validate[T interface{ Validate() error }](f *faults, path string, p *T) {
	if p != nil {
		f.join(path, (*p).Validate())
	}
}

// validateRoute reports policies that only a service can have, for they are
// of endpoints, which know no routes.
func (p Policies) validateRoute(f *faults) {
	for _, only := range []struct {
		name string
		set  bool
	}{{"outliers", p.Outliers != nil}, {"endpointBreaker", p.EndpointBreaker != nil}, {"probe", p.Probe != nil}} {
		if only.set {
			f.add("%s: is of a service, a route cannot have it", only.name)
		}
	}
}

func (p Policies) validateTogether(f *faults) {
	if fault := p.together(); fault != "" {
		f.add("%s", fault)
	}
}

func (p Policies) together() (fault string) {
	for _, part := range []struct {
		name string
		d    time.Duration
	}{
		{"retry.perTry", orZero(p.Retry).PerTry}, {"breaker.slowCall", orZero(p.Breaker).SlowCall},
		{"endpointBreaker.slowCall", orZero(p.EndpointBreaker).SlowCall},
	} {
		if p.Timeout > 0 && part.d > p.Timeout {
			return fmt.Sprintf("%s: %v exceeds timeout %v", part.name, part.d, p.Timeout)
		}
	}
	return ""
}

// or fills in from the next wider policies what p leaves unset.
func (p Policies) or(wider Policies) Policies {
	if p.Timeout == 0 {
		p.Timeout = wider.Timeout
	}
	p.Retry = orPtr(p.Retry, wider.Retry)
	p.Fault = orPtr(p.Fault, wider.Fault)
	p.Breaker = orPtr(p.Breaker, wider.Breaker)
	p.Limit = orPtr(p.Limit, wider.Limit)
	p.RateLimit = orPtr(p.RateLimit, wider.RateLimit)
	p.Outliers = orPtr(p.Outliers, wider.Outliers)
	p.EndpointBreaker = orPtr(p.EndpointBreaker, wider.EndpointBreaker)
	p.Probe = orPtr(p.Probe, wider.Probe)
	return p
}

func orPtr[T any](p, wider *T) *T {
	if p == nil {
		return wider
	}
	return p
}

// policyClones are the copies of one Config: a policy that is used in several
// places stays one.
type policyClones map[any]any

func (all policyClones) of(p Policies) Policies {
	c := p.clone()
	shared(all, p.Retry, &c.Retry)
	shared(all, p.Fault, &c.Fault)
	shared(all, p.Breaker, &c.Breaker)
	shared(all, p.Limit, &c.Limit)
	shared(all, p.RateLimit, &c.RateLimit)
	shared(all, p.Outliers, &c.Outliers)
	shared(all, p.EndpointBreaker, &c.EndpointBreaker)
	shared(all, p.Probe, &c.Probe)
	return c
}

// shared puts the one copy of p in the place of another.
func shared[T any](all policyClones, p *T, another **T) {
	if p == nil {
		return
	}
	if one, ok := all[p].(*T); ok {
		*another = one
	}
	all[p] = *another
}

func (p Policies) clone() Policies {
	if p.Retry = clonePtr(p.Retry); p.Retry != nil {
		p.Retry.Statuses = slices.Clone(p.Retry.Statuses)
		p.Retry.On = slices.Clone(p.Retry.On)
	}
	if p.Fault = clonePtr(p.Fault); p.Fault != nil {
		p.Fault.Match = cloneMatches(p.Fault.Match)
		p.Fault.Delay, p.Fault.Abort = clonePtr(p.Fault.Delay), clonePtr(p.Fault.Abort)
	}
	p.Breaker, p.Limit, p.RateLimit = clonePtr(p.Breaker), clonePtr(p.Limit), deepCopy(p.RateLimit)
	p.Outliers, p.EndpointBreaker, p.Probe = clonePtr(p.Outliers), clonePtr(p.EndpointBreaker), clonePtr(p.Probe)
	if p.Probe != nil {
		p.Probe.Statuses = slices.Clone(p.Probe.Statuses)
	}
	return p
}

// effective returns the policies with their defaults filled in.
func (p Policies) effective() Policies {
	p.Timeout = max(0, p.Timeout)
	p.Retry, p.Breaker, p.Limit = effective(p.Retry), effective(p.Breaker), effective(p.Limit)
	p.RateLimit = effective(p.RateLimit)
	p.Outliers, p.EndpointBreaker, p.Probe = effective(p.Outliers), effective(p.EndpointBreaker), effective(p.Probe)
	return p.redacted()
}

func effective[T interface{ Effective() T }](p *T) *T {
	if p == nil {
		return nil
	}
	e := (*p).Effective()
	return &e
}

func (p Policies) redacted() Policies {
	p = p.clone()
	if p.Fault != nil {
		p.Fault.Match = redactMatches(p.Fault.Match)
	}
	if p.Probe != nil {
		if path, _, query := strings.Cut(p.Probe.Path, "?"); query {
			p.Probe.Path = path + "?" + redacted
		}
	}
	return p
}

func orZero[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// String tells the policies in a line.
func (p Policies) String() string {
	var parts []string
	if p.Timeout > 0 {
		parts = append(parts, "timeout "+p.Timeout.String())
	}
	if r := p.Retry; r != nil && r.Effective().Attempts > 1 {
		parts = append(parts, fmt.Sprintf("%d attempts (%s)", r.Effective().Attempts, r.Mode))
	}
	mode := func(name string, present bool, m outcome.Mode) {
		if present {
			parts = append(parts, fmt.Sprintf("%s (%s)", name, m))
		}
	}
	mode("breaker", p.Breaker != nil, orZero(p.Breaker).Mode)
	mode("limit", p.Limit != nil, orZero(p.Limit).Mode)
	if p.RateLimit != nil {
		parts = append(parts, fmt.Sprintf("%d rate limits", len(p.RateLimit.Policies)))
	}
	mode("outliers", p.Outliers != nil, orZero(p.Outliers).Mode)
	mode("endpoint breaker", p.EndpointBreaker != nil, orZero(p.EndpointBreaker).Mode)
	mode("probe", p.Probe != nil, orZero(p.Probe).Mode)
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
