package tulle

import (
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/internal/secret"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// InboundState is what is known of requests that come to the process.
type InboundState struct {
	// Calls counts the requests to handlers of the mesh.
	Calls CallCounts `json:"calls"`
	// Leaving is true once the process was told to stop.
	Leaving bool           `json:"leaving,omitempty"`
	Trust   identity.Trust `json:"trust"`
	Strip   []string       `json:"strip,omitempty"`
	// Stripped counts requests from which fields were taken, BadHints those
	// whose Tulle-Call field could not be read and was ignored.
	Stripped uint64 `json:"stripped,omitempty"`
	BadHints uint64 `json:"badHints,omitempty"`
	// InFlight and Overload are nil without the policy.
	InFlight     *LimitState   `json:"inFlight,omitempty"`
	Overload     *GuardedState `json:"overload,omitempty"`
	Grace        time.Duration `json:"grace"`
	DrainTimeout time.Duration `json:"drainTimeout"`
	// Guard applies where no rule does, Rules are in their order.
	Guard GuardState  `json:"guard"`
	Rules []RuleState `json:"rules,omitempty"`
}

// GuardedState is the guard against overload.
type GuardedState struct {
	Policy overload.Policy `json:"policy"`
	overload.Stats
}

// RuleState is the state of a rule.
type RuleState struct {
	Name  string          `json:"name"`
	Match []match.Request `json:"match,omitempty"`
	Guard GuardState      `json:"guard"`
}

// GuardState is a guard after inheritance, with the counts of what carries it
// out, which may be shared with other rules. Counts are nil without the policy.
type GuardState struct {
	Policies Guard `json:"policies"`
	// RateLimits are those before authentication, then those after.
	RateLimits []ratelimit.Stats `json:"rateLimits,omitempty"`
	Authn      *authn.Stats      `json:"authn,omitempty"`
	Authz      *authz.Stats      `json:"authz,omitempty"`
}

func (m *Mesh) inboundState(g *guards) InboundState {
	s := InboundState{
		Calls: m.visits.snapshot(), Leaving: m.leaving.Load(), Trust: deepCopy(g.config.Trust), Strip: slices.Clone(g.config.Strip),
		Stripped: m.stripped.Load(), BadHints: m.badHints.Load(),
		Grace: g.config.grace(), DrainTimeout: g.config.drainTimeout(), Guard: g.base.state(),
	}
	if g.inFlight != nil {
		s.InFlight = &LimitState{g.config.InFlight.Effective(), g.inFlight.Stats()}
	}
	if g.overload != nil {
		policy := g.config.Overload.Effective()
		policy.Exempt = redactMatches(policy.Exempt)
		s.Overload = &GuardedState{policy, g.overload.Stats()}
	}
	for i, r := range g.rules {
		s.Rules = append(s.Rules, RuleState{r.name, redactMatches(g.config.Rules[i].Match), r.guard.state()})
	}
	return s
}

func (g *guard) state() GuardState {
	s := GuardState{Policies: g.config.redacted()}
	for _, l := range []*ratelimit.Limiter{g.before, g.after} {
		if l != nil {
			s.RateLimits = append(s.RateLimits, l.Stats())
		}
	}
	if g.doorman != nil {
		stats := g.doorman.Stats()
		s.Authn = &stats
	}
	if g.authorizer != nil {
		stats := g.authorizer.Stats()
		s.Authz = &stats
	}
	return s
}

// redacted returns a copy with defaults filled in, without what may be secret.
func (g Guard) redacted() Guard {
	g = deepCopy(g)
	g.RateLimit, g.Authn, g.Authz = effective(g.RateLimit), effective(g.Authn), effective(g.Authz)
	if g.Authz != nil {
		for i := range g.Authz.Rules {
			for _, c := range g.Authz.Rules[i].When {
				if secret.Name(c.Header) {
					redactAll(c.Values)
					redactAll(c.NotValues)
				}
			}
		}
	}
	if g.Authn != nil {
		for i := range g.Authn.Issuers {
			g.Authn.Issuers[i].JWKSURL = redactURL(g.Authn.Issuers[i].JWKSURL)
		}
	}
	return g
}

// redactURL hides what may be secret in an absolute URL: the query, and who
// asks.
func redactURL(url string) string {
	url, _, query := strings.Cut(url, "?")
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, slash := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		url = scheme + "://" + redacted + host[i:]
		if slash {
			url += "/" + path
		}
	}
	if query {
		url += "?" + redacted
	}
	return url
}

// redactAll hides all values but "*".
func redactAll(values []string) {
	for i := range values {
		if values[i] != "*" {
			values[i] = redacted
		}
	}
}

// inboundReport tells what the inbound policies under Observe would have done.
func (m *Mesh) inboundReport(g *guards) (all []PolicyReport) {
	add := func(name string, would, succeeded uint64) {
		all = append(all, PolicyReport{Policy: name, Verb: "refuse", Would: would, Succeeded: succeeded})
	}
	if c := g.config.InFlight; c != nil && c.Mode == outcome.Observe {
		s := g.inFlight.Stats()
		add("inFlight", s.WouldRefuse, s.WouldRefuseSucceeded)
	}
	if c := g.config.Overload; c != nil && c.Mode == outcome.Observe {
		s := g.overload.Stats()
		add("overload", s.WouldRefuse, s.WouldRefuseSucceeded)
	}
	seen := map[any]bool{}
	bodies := false
	for _, each := range append([]*rule{{guard: g.base}}, g.rules...) {
		name := func(policy string) string { return strings.TrimPrefix(each.name+": "+policy, ": ") }
		gd := each.guard
		bodies = bodies || gd.config.Body != nil && gd.config.Body.Mode == outcome.Observe
		for _, l := range []*ratelimit.Limiter{gd.before, gd.after} {
			if l == nil || seen[l] {
				continue
			}
			seen[l] = true
			for _, p := range l.Stats().Policies {
				if gd.config.observesLimit(p.Name) {
					add(name("rateLimit "+p.Name), p.WouldRefuse, p.WouldRefuseSucceeded)
				}
			}
		}
		if c := gd.config.Authn; c != nil && c.Mode == outcome.Observe && !seen[gd.doorman] {
			seen[gd.doorman] = true
			add(name("authn"), gd.doorman.observed.would.Load(), gd.doorman.observed.succeeded.Load())
		}
		if c := gd.config.Authz; c != nil && c.Mode == outcome.Observe && !seen[gd.authorizer] {
			seen[gd.authorizer] = true
			s := gd.authorizer.Stats()
			would, succeeded := s.Unmatched.WouldDeny, s.Unmatched.Succeeded
			for _, r := range s.Rules {
				would += r.WouldDeny
				succeeded += r.Succeeded
			}
			add(name("authz"), would, succeeded)
		}
	}
	if bodies {
		add("body", m.bodies.would.Load(), m.bodies.succeeded.Load())
	}
	return all
}

// observesLimit reports whether a policy of the rate limit only counts.
func (g Guard) observesLimit(name string) bool {
	return slices.ContainsFunc(g.RateLimit.Policies, func(p ratelimit.Policy) bool {
		return p.Name == name && p.Mode == outcome.Observe
	})
}
