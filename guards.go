package tulle

import (
	"net/http"
	"reflect"
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
	config   Inbound
	strip    []string
	inFlight *breaker.Limiter // nil without
	overload *overload.Guard  // nil without
	base     *guard
	rules    []*rule
	workers  workers
}

// rule is a Rule made ready.
type rule struct {
	name     string
	matchers []*match.Matcher // none for every request
	guard    *guard
}

// guard is a Guard made ready, after inheritance.
type guard struct {
	config     Guard
	timeout    time.Duration
	before     *ratelimit.Limiter // nil without
	verifier   *authn.Verifier    // nil without
	after      *ratelimit.Limiter // nil without
	authorizer *authz.Authorizer  // nil without
}

// workers has what carries policies out, by whose policy it is. It goes on
// from one configuration to the next where the policy is equal.
type workers map[workerKey]worker

type workerKey struct{ owner, kind string }

type worker struct{ policy, does any }

// carryOut returns what carries a policy out: what did before if the policy
// is equal, else a new one.
func carryOut[P, W any](made, was workers, owner, kind string, p P, make func(P) (W, error)) (W, error) {
	key := workerKey{owner, kind}
	for _, known := range []workers{made, was} {
		if w, ok := known[key]; ok && reflect.DeepEqual(w.policy, p) {
			made[key] = w
			return w.does.(W), nil
		}
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
		g.strip = append(g.strip, http.CanonicalHeaderKey(name))
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
			matcher, err := match.Compile(cond)
			if err != nil {
				return g, err
			}
			next.matchers = append(next.matchers, matcher)
		}
		if next.guard, err = m.newGuard(r.Guard, c.Guard, r.Name, g.workers, was.workers); err != nil {
			return g, err
		}
		g.rules = append(g.rules, next)
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
	g = &guard{config: c, timeout: max(0, c.Timeout)}
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
		if g.verifier, err = carryOut(made, was, owner(own.Authn != nil), "authn", *c.Authn, func(p authn.Policy) (*authn.Verifier, error) {
			return authn.New(p, authn.Options{KeySets: m.keySets, Logger: m.options.logger})
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

// of returns the guard of a request and the name of its rule, "" for none.
func (g *guards) of(r *http.Request) (*guard, string) {
	for _, rule := range g.rules {
		if len(rule.matchers) == 0 {
			return rule.guard, rule.name
		}
		for _, m := range rule.matchers {
			if m.Matches(r) {
				return rule.guard, rule.name
			}
		}
	}
	return g.base, ""
}

// observes reports whether a body limit only counts.
func (b *BodyLimit) observes() bool { return b.Mode == outcome.Observe }
