package tulle

import (
	"maps"
	"reflect"
	"slices"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
)

// What gives permits is shared by calls that have a policy in common, and goes on
// from one configuration to the next.

// budgetKey says what calls share a retry budget: those to a service under
// policies that are the same in this. What is only observed has a purse of
// its own, for it must cost nobody anything.
type budgetKey struct {
	service string
	mode    outcome.Mode
	policy  retry.BudgetPolicy
}

type breakerKey struct {
	service string
	policy  breaker.Policy
}

type limiterKey struct {
	service string
	limit   breaker.Limit
}

type rateKey struct {
	service string
	config  *ratelimit.Config
}

// injector returns what carries out a fault policy, with its counts if there
// was an equal one.
func (p *plan) injector(fp *fault.Policy, draw func() uint64, was *plan) (*fault.Injector, error) {
	if p.injectors[fp] != nil {
		return p.injectors[fp], nil
	}
	for old, i := range was.injectors {
		if reflect.DeepEqual(old, fp) {
			p.injectors[fp] = i
			return i, nil
		}
	}
	i, err := fault.New(*fp, draw)
	p.injectors[fp] = i
	return i, err
}

// budget returns what calls to a service under a policy have to retry with:
// one purse for all its routes, kept across configurations.
func (p *plan) budget(key budgetKey, was *plan) *retry.Budget {
	if p.budgets[key] == nil {
		if p.budgets[key] = was.budgets[key]; p.budgets[key] == nil {
			p.budgets[key] = retry.NewBudget(key.policy)
		}
	}
	return p.budgets[key]
}

// breaker returns the one breaker of calls to a service under a policy, kept
// across configurations.
func (p *plan) breaker(key breakerKey, s *service, was *plan) (*breaker.Breaker, error) {
	if p.breakers[key] == nil {
		c := was.breakers[key]
		if c == nil {
			var err error
			if c, err = newCircuit(key.policy, key.service, "", s.options.draw, s.tell, func() {}); err != nil {
				return nil, err
			}
		}
		p.breakers[key] = c
	}
	return p.breakers[key].Breaker, nil
}

// limiter returns the one limiter of calls to a service under a limit, kept
// across configurations.
func (p *plan) limiter(key limiterKey, was *plan) (_ *breaker.Limiter, err error) {
	if p.limiters[key] == nil {
		if p.limiters[key] = was.limiters[key]; p.limiters[key] == nil {
			p.limiters[key], err = breaker.NewLimiter(key.limit)
		}
	}
	return p.limiters[key], err
}

// rate returns what carries out a rate limit of calls to a service, with its
// buckets if there was an equal one.
func (p *plan) rate(key rateKey, was *plan) (_ *ratelimit.Limiter, err error) {
	if p.rates[key] != nil {
		return p.rates[key], nil
	}
	for old, l := range was.rates {
		if old.service == key.service && reflect.DeepEqual(old.config, key.config) && !slices.Contains(slices.Collect(maps.Values(p.rates)), l) {
			p.rates[key] = l
			return l, nil
		}
	}
	p.rates[key], err = ratelimit.New(*key.config)
	return p.rates[key], err
}
