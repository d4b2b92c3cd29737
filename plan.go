package tulle

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/internal/histogram"
	"github.com/tulle-mesh/tulle/internal/xxh64"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/routing"
)

// plan is a Config made ready for calls: immutable, loaded once per call.
type plan struct {
	config Config // a copy, for State
	// routes are the configured ones, ahead of names: the routes that every
	// service has by its hosts.
	routes, names *routing.Table[*route]
	// exact has what names finds for hosts as callers are likely to write
	// them, which spares most calls the search.
	exact    map[string]*route
	list     []*route // in the order of the configuration
	byName   map[string]*route
	services map[string]*service
	// drafts has the subsets of each service.
	drafts  map[string]map[string]*subset
	budgets map[budgetKey]*retry.Budget
	// breakers and limiters are shared as budgets are.
	breakers map[breakerKey]*circuit
	limiters map[limiterKey]*breaker.Limiter
	rates    map[rateKey]*ratelimit.Limiter
	refuse   *RefuseUnknownHosts
	// guards are for requests that come in.
	guards *guards
	// own has the destination of each service by its hosts.
	own map[string]*destination
	// made has destinations and their like already made for this plan.
	made      map[destinationKey]*destination
	byHost    map[policiesKey]map[*service][]*destination
	injectors map[*fault.Policy]*fault.Injector
}

// policiesKey is a Policies for looking things up by.
type policiesKey Policies

type destinationKey struct {
	service, subset string
	policies        policiesKey
}

// route is a Route made ready.
type route struct {
	name    string
	filters routing.Filters
	sticky  *match.Key
	salt    uint64
	split   routing.Split // of dests, if there are several
	dests   []*destination
	// calls counts those that fell to each of dests.
	calls []*atomic.Uint64
	// byHost has the destinations of a route without a split; hosted says
	// for each of its matches whether it names hosts.
	byHost  map[*service][]*destination
	hosted  []bool
	mirrors []*reflection
	stats   *stats // nil for the route that a service has by its hosts
	// latency is of attempts, to their headers; nil as stats is.
	latency *histogram.Histogram
	scopes  scopes
}

// destination is a service, or a part of it, with all that applies to calls
// that get there by a certain route.
type destination struct {
	service  *service
	subset   *subset
	loop     *retry.Loop
	policies Policies
	// judge classifies; judgeEnd is set if it looks at the end as well, and
	// judgesEnd if what it says before that may be no more than a first word.
	judge     outcome.Classifier
	judgeEnd  outcome.EndClassifier
	judgesEnd bool
	key       *match.Key
	maxWait   time.Duration
	external  bool
	// keepReports says that load reports stay in responses.
	keepReports bool
	// propagate says that attempts take the trace context with them.
	propagate bool
	// host and port are what metrics call the service.
	host string
	port int
	// traced says that time-outs while dialling are told from others.
	traced bool
	// repeats says that the mesh repeats what failed.
	repeats bool
	fault   *fault.Injector
	breaker *breaker.Breaker   // nil without
	limiter *breaker.Limiter   // nil without
	rate    *ratelimit.Limiter // nil without
	// rateWait is how long that may keep a call.
	rateWait time.Duration
}

// compile makes a plan of a configuration. It changes nothing that is live.
func compile(c Config, services map[string]*service, drafts map[string]map[string]*subset, was *plan) (*plan, error) {
	p := &plan{
		config: c, services: services, drafts: drafts, refuse: c.RefuseUnknownHosts, byName: map[string]*route{},
		budgets: map[budgetKey]*retry.Budget{}, breakers: map[breakerKey]*circuit{},
		limiters: map[limiterKey]*breaker.Limiter{}, rates: map[rateKey]*ratelimit.Limiter{}, own: map[string]*destination{}, made: map[destinationKey]*destination{},
		byHost: map[policiesKey]map[*service][]*destination{}, injectors: map[*fault.Policy]*fault.Injector{},
	}
	if was == nil {
		was = &plan{}
	}
	byName := make(map[string]*Service, len(c.Services))
	names := make([]routing.Rule[*route], 0, len(c.Services))
	for i := range c.Services {
		s := &c.Services[i]
		byName[s.Name] = s
		d, err := p.destination(s, "", Policies{}, was)
		if err != nil {
			return nil, fmt.Errorf("services[%d] (%s): %w", i, s.Name, err)
		}
		p.own[s.Name] = d
		names = append(names, routing.Rule[*route]{
			Name: s.Name, Match: []match.Request{{Hosts: s.hosts()}}, Action: &route{dests: []*destination{d}},
		})
	}
	var err error
	if len(names) > 0 {
		if p.names, err = routing.Compile(names); err != nil {
			return nil, err
		}
		p.exact = p.exactHosts()
	}
	rules := make([]routing.Rule[*route], 0, len(c.Routes))
	for i := range c.Routes {
		r, err := p.route(&c.Routes[i], byName, was)
		if err != nil {
			return nil, fmt.Errorf("routes[%d] (%s): %w", i, c.Routes[i].Name, err)
		}
		p.list = append(p.list, r)
		p.byName[r.name] = r
		rules = append(rules, routing.Rule[*route]{Name: r.name, Match: c.Routes[i].Match, Action: r})
	}
	if len(rules) > 0 {
		p.routes, err = routing.Compile(rules)
	}
	return p, err
}

// exactHosts asks names for the hosts of all services. A host that names
// another service with https than with http is left out.
func (p *plan) exactHosts() map[string]*route {
	exact := map[string]*route{}
	for i := range p.config.Services {
		for _, host := range p.config.Services[i].hosts() {
			plain, ok := p.names.Match(&http.Request{URL: &url.URL{Scheme: "http", Host: host}})
			secure, _ := p.names.Match(&http.Request{URL: &url.URL{Scheme: "https", Host: host}})
			if ok && plain.Action == secure.Action {
				exact[host] = plain.Action
			}
		}
	}
	return exact
}

func (p *plan) route(c *Route, services map[string]*Service, was *plan) (*route, error) {
	r := &route{
		name: c.Name, filters: c.Filters, sticky: c.Sticky, salt: xxh64.Sum(c.Name, 0),
		stats: new(stats), latency: histogram.New(time.Now()),
	}
	before := was.byName[c.Name]
	if before != nil {
		r.stats, r.latency = before.stats, before.latency
	}
	if r.answers() {
		return r, nil
	}
	var err error
	if r.mirrors, err = p.reflections(c, services, before, was); err != nil {
		return nil, err
	}
	if len(c.Split) == 0 {
		for _, m := range c.Match {
			r.hosted = append(r.hosted, len(m.Hosts) > 0)
		}
		r.byHost, err = p.destinations(c, was)
		return r, err
	}
	weights := make([]uint32, len(c.Split))
	for i, part := range c.Split {
		d, err := p.destination(services[part.Service], part.Subset, c.Policies, was)
		if err != nil {
			return nil, fmt.Errorf("split[%d] (%s): %w", i, part.Service, err)
		}
		r.dests = append(r.dests, d)
		r.calls = append(r.calls, before.callsOf(d))
		weights[i] = part.Weight
	}
	if len(c.Split) > 1 {
		r.split, err = routing.NewSplit(weights)
	}
	return r, err
}

// destinations returns one destination for every service that a route
// without a split may lead to. Routes that may lead anywhere share what they
// have in common.
func (p *plan) destinations(c *Route, was *plan) (map[*service][]*destination, error) {
	hosts, anywhere := c.hosts()
	key := policiesKey(c.Policies)
	if anywhere && p.byHost[key] != nil {
		return p.byHost[key], nil
	}
	all := map[*service][]*destination{}
	for i := range p.config.Services {
		s := &p.config.Services[i]
		if !anywhere && !s.isAt(hosts) {
			continue
		}
		d, err := p.destination(s, "", c.Policies, was)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", s.Name, err)
		}
		all[d.service] = []*destination{d}
	}
	if anywhere {
		p.byHost[key] = all
	}
	return all, nil
}

func (p *plan) destination(c *Service, subset string, narrower Policies, was *plan) (*destination, error) {
	policies := narrower.or(c.policies(&p.config))
	key := destinationKey{c.Name, subset, policiesKey(policies)}
	if d := p.made[key]; d != nil {
		return d, nil
	}
	s := p.services[c.Name]
	d := &destination{
		service: s, subset: p.drafts[c.Name][subset], policies: policies,
		judge: c.classifier(), key: c.Key, maxWait: c.MaxWait, external: c.External,
		keepReports: c.KeepLoadReports, propagate: !c.External || c.TraceContext,
	}
	d.host, d.port = c.address()
	d.judgeEnd, _ = d.judge.(outcome.EndClassifier)
	d.judgesEnd = d.judgeEnd != nil && d.judge != outcome.Classifier(outcome.HTTP{})
	opts := retry.Options{Policy: policies.Retry, Timeout: max(0, policies.Timeout), Counters: &s.retries, Draw: s.options.draw}
	if opts.Policy != nil {
		d.repeats = opts.Policy.Mode == outcome.Enforce && opts.Policy.Effective().Attempts > 1
		opts.Budget = p.budget(budgetKey{c.Name, opts.Policy.Mode, opts.Policy.Budget.Effective()}, was)
		// Attempt middleware may carry a request without a connection.
		d.traced = opts.Policy.PerTry > 0 && len(s.options.perAttempt) == 0
	}
	var err error
	if d.loop, err = retry.New(opts); err != nil {
		return nil, err
	}
	if policies.Fault != nil {
		if d.fault, err = p.injector(policies.Fault, s.options.draw, was); err != nil {
			return nil, fmt.Errorf("fault: %w", err)
		}
		d.traced = d.traced && !d.fault.PerAttempt()
	}
	if policies.Breaker != nil {
		if d.breaker, err = p.breaker(breakerKey{c.Name, policies.Breaker.Effective()}, s, was); err != nil {
			return nil, fmt.Errorf("breaker: %w", err)
		}
	}
	if policies.Limit != nil {
		if d.limiter, err = p.limiter(limiterKey{c.Name, policies.Limit.Effective()}, was); err != nil {
			return nil, fmt.Errorf("limit: %w", err)
		}
	}
	if policies.RateLimit != nil {
		if d.rate, err = p.rate(rateKey{c.Name, policies.RateLimit}, was); err != nil {
			return nil, fmt.Errorf("rateLimit: %w", err)
		}
		e := policies.RateLimit.Effective()
		d.rateWait = max(e.MaxWait, e.StoreTimeout)
	}
	p.made[key] = d
	return d, nil
}

// callsOf returns what was counted for a destination like d on the route.
func (r *route) callsOf(d *destination) *atomic.Uint64 {
	if r != nil {
		for i, o := range r.dests {
			if o.service == d.service && o.subset.name == d.subset.name {
				return r.calls[i]
			}
		}
	}
	return new(atomic.Uint64)
}

// spec returns what of a Service concerns its endpoints.
func (s *Service) spec(c *Config) spec {
	p := s.policies(c)
	return spec{
		resolver: s.Resolver, policy: s.balancer(), spread: s.Spread, region: c.Region, zone: c.Zone, subsets: s.Subsets,
		wire: s.wire(), host: s.host(), asked: asked{effective(p.Outliers), effective(p.EndpointBreaker), effective(p.Probe)},
	}
}

// policies returns those of calls to the service by its name. Who is outside
// one's own organisation is probed only where that is asked for by name.
func (s *Service) policies(c *Config) Policies {
	wider := c.Policies
	if s.External {
		wider.Probe = nil
	}
	return s.Policies.or(wider)
}

// host returns the name that probes call the service by: that of calls.
func (s *Service) host() string {
	for _, h := range s.hosts() {
		if !strings.HasPrefix(h, "*") {
			return h
		}
	}
	return s.Name
}

func (s *Service) balancer() balancer.Policy {
	if s.Balancer == nil {
		return balancer.LoadFed{}
	}
	return s.Balancer
}

func (s *Service) classifier() outcome.Classifier {
	if s.Classifier == nil {
		return outcome.HTTP{}
	}
	return s.Classifier
}

func (s *Service) wire() *wire {
	return &wire{protocol: s.Protocol, tls: s.TLS, connection: s.Connection}
}
