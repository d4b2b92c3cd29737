package tulle

import (
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// guards are an Inbound made ready for requests: immutable.
type guards struct {
	config Inbound
	// strip are names of fields that only some may send, claimed those that
	// authentication sets and nobody may; see fold.
	strip, claimed []string
	// paths and hosts say that rules depend on them.
	paths    bool
	hosts    bool
	inFlight *breaker.Limiter // nil without
	overload *overload.Guard  // nil without
	base     *guard
	rules    []*rule
	workers  workers
}

// rule is a Rule made ready.
type rule struct {
	name     string
	matchers []matcher // none for every request
	guard    *guard
}

// matcher is a match.Request whose host can be judged apart from the rest.
type matcher struct {
	host, rest *match.Matcher
	hosts      []match.Host
}

// guard is a Guard made ready, after inheritance.
type guard struct {
	config     Guard
	timeout    time.Duration
	before     *ratelimit.Limiter // nil without
	cors       *cors              // nil without
	doorman    *doorman           // nil without
	after      *ratelimit.Limiter // nil without
	authorizer *authz.Authorizer  // nil without
}

// doorman is a Verifier with what it would have refused under Observe: which
// requests need a token is not for the Verifier to know.
type doorman struct {
	*authn.Verifier
	observed spared
}

// workers has what carries policies out, by whose policy it is. It goes on
// from one configuration to the next where the policy is equal.
type workers map[workerKey]worker

type workerKey struct{ owner, kind string }

type worker struct{ policy, does any }

// carryOut returns what carries a policy out: what does already for others
// that inherit it from the same owner, what did before if the policy is equal,
// else a new one.
func carryOut[P, W any](made, was workers, owner, kind string, p P, make func(P) (W, error)) (W, error) {
	key := workerKey{owner, kind}
	if w, ok := made[key]; ok {
		return w.does.(W), nil
	}
	if w, ok := was[key]; ok && equalData(w.policy, p) {
		made[key] = w
		return w.does.(W), nil
	}
	w, err := make(p)
	if err == nil {
		made[key] = worker{p, w}
	}
	return w, err
}

// newGuards makes an Inbound ready. The workers that it has beyond those of
// was are to be closed by retire if it is not used after all.
func (m *Mesh) newGuards(c Inbound, was *guards) (_ *guards, err error) {
	if was == nil {
		was = &guards{}
	}
	g := &guards{config: c, workers: workers{}}
	for _, name := range c.Strip {
		g.strip = append(g.strip, fold(name))
	}
	if c.InFlight != nil {
		if g.inFlight, err = carryOut(g.workers, was.workers, "", "inFlight", *c.InFlight, breaker.NewLimiter); err != nil {
			return g, err
		}
	}
	if c.Overload != nil {
		if g.overload, err = carryOut(g.workers, was.workers, "", "overload", *c.Overload, func(p overload.Policy) (*overload.Guard, error) {
			return overload.New(p, overload.Options{})
		}); err != nil {
			return g, err
		}
	}
	if g.base, err = m.newGuard(c.Guard, Guard{}, "", g.workers, was.workers); err != nil {
		return g, err
	}
	for _, r := range c.Rules {
		next := &rule{name: r.Name}
		for _, cond := range r.Match {
			made, err := newMatcher(cond)
			if err != nil {
				return g, err
			}
			next.matchers = append(next.matchers, made)
			g.paths = g.paths || cond.Path != match.Path{}
			g.hosts = g.hosts || len(cond.Hosts) > 0
		}
		if next.guard, err = m.newGuard(r.Guard, c.Guard, r.Name, g.workers, was.workers); err != nil {
			return g, err
		}
		g.rules = append(g.rules, next)
	}
	for key, w := range g.workers {
		if p, ok := w.policy.(authn.Policy); ok && key.kind == "authn" && p.Mode == outcome.Enforce {
			for name := range p.ClaimHeaders {
				g.claimed = append(g.claimed, fold(name))
			}
		}
	}
	return g, nil
}

// newGuard makes a Guard ready. What it inherits belongs to nobody, and is
// shared by all who inherit it.
func (m *Mesh) newGuard(own, wider Guard, name string, made, was workers) (g *guard, err error) {
	owner := func(set bool) string {
		if set {
			return name
		}
		return ""
	}
	c := own.or(wider)
	g = &guard{config: c, timeout: max(0, c.Timeout), cors: newCORS(c.CORS)}
	if c.RateLimit != nil {
		before, after := divide(*c.RateLimit)
		for _, half := range []struct {
			kind   string
			config ratelimit.Config
			does   **ratelimit.Limiter
		}{{"rateLimit before", before, &g.before}, {"rateLimit after", after, &g.after}} {
			if len(half.config.Policies) == 0 {
				continue
			}
			if *half.does, err = carryOut(made, was, owner(own.RateLimit != nil), half.kind, half.config, ratelimit.New); err != nil {
				return nil, err
			}
		}
	}
	if c.Authn != nil {
		if g.doorman, err = carryOut(made, was, owner(own.Authn != nil), "authn", *c.Authn, func(p authn.Policy) (*doorman, error) {
			v, err := authn.New(p, authn.Options{KeySets: m.keySets, Logger: m.options.logger})
			return &doorman{Verifier: v}, err
		}); err != nil {
			return nil, err
		}
	}
	if c.Authz != nil {
		if g.authorizer, err = carryOut(made, was, owner(own.Authz != nil), "authz", *c.Authz, authz.New); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// divide returns the policies of a limit that can be charged before it is
// known who asks, and those that cannot.
func divide(c ratelimit.Config) (before, after ratelimit.Config) {
	before, after = c, c
	who := func(p ratelimit.Policy) bool { return p.Key.Principal || p.Key.Claim != "" }
	before.Policies = slices.DeleteFunc(slices.Clone(c.Policies), who)
	after.Policies = slices.DeleteFunc(slices.Clone(c.Policies), func(p ratelimit.Policy) bool { return !who(p) })
	return before, after
}

// retire closes the workers that g has and kept does not.
func (g *guards) retire(kept *guards) {
	for key, w := range g.workers {
		if kept != nil && kept.workers[key].does == w.does {
			continue
		}
		if c, ok := w.does.(interface{ Close() error }); ok {
			// It says nothing that anybody could act on.
			_ = c.Close()
		}
	}
}
