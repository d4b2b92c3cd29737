package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
)

// Injector carries out a Policy. It is safe for concurrent use.
type Injector struct {
	policy  Policy
	matches []*match.Matcher
	draw    func() uint64
	// delay and abort are the shares, of 2^32.
	delay, abort uint64

	matched, delayed, aborted atomic.Uint64
}

// Decision is what becomes of one request.
type Decision struct {
	// Delay is how long the request is held up, 0 for not at all.
	Delay time.Duration
	// Abort is the failure after that, nil for none.
	Abort *Abort
}

// Stats count what an Injector has decided, under Observe what it would have
// done.
type Stats struct {
	// Matched counts the requests concerned, Delayed and Aborted those hit.
	Matched uint64 `json:"matched"`
	Delayed uint64 `json:"delayed"`
	Aborted uint64 `json:"aborted"`
}

// New returns an Injector, or every fault of the policy. draw is the source
// of chance, called by many goroutines at once; nil is the generator of the
// Go runtime.
func New(p Policy, draw func() uint64) (*Injector, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if draw == nil {
		draw = rand.Uint64
	}
	i := &Injector{policy: p, draw: draw}
	for n, m := range p.Match {
		compiled, err := match.Compile(m)
		if err != nil {
			return nil, fmt.Errorf("matches[%d].%w", n, err)
		}
		i.matches = append(i.matches, compiled)
	}
	if p.Delay != nil {
		d := *p.Delay
		i.policy.Delay, i.delay = &d, share(d.Percent)
	}
	if p.Abort != nil {
		a := *p.Abort
		i.policy.Abort, i.abort = &a, share(a.Percent)
	}
	return i, nil
}

// share returns a percentage as a part of 2^32, at least 1.
func share(percent float64) uint64 { return max(1, uint64(percent/100*(1<<32))) }

// Decide decides on a request and counts it. Under Observe it returns nothing
// to do. It does not allocate.
func (i *Injector) Decide(r *http.Request) Decision {
	if len(i.matches) > 0 && !slices.ContainsFunc(i.matches, func(m *match.Matcher) bool { return m.Matches(r) }) {
		return Decision{}
	}
	i.matched.Add(1)
	var d Decision
	chance := i.draw()
	if chance>>32 < i.delay {
		i.delayed.Add(1)
		d.Delay = i.policy.Delay.Duration
	}
	if chance&(1<<32-1) < i.abort {
		i.aborted.Add(1)
		d.Abort = i.policy.Abort
	}
	if i.policy.Mode == outcome.Observe {
		return Decision{}
	}
	return d
}

// Inject decides on a request and carries the delay out. It returns the
// failure that the request is to end with, nil for none, or the cause of ctx
// if that ends first.
func (i *Injector) Inject(ctx context.Context, r *http.Request) (*Abort, error) {
	d := i.Decide(r)
	if d.Delay > 0 {
		timer := time.NewTimer(d.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return d.Abort, nil
}

// PerAttempt reports whether the policy is for attempts.
func (i *Injector) PerAttempt() bool { return i.policy.PerAttempt }

// Stats returns the counts so far.
func (i *Injector) Stats() Stats {
	return Stats{Matched: i.matched.Load(), Delayed: i.delayed.Load(), Aborted: i.aborted.Load()}
}
