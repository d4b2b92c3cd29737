package tulle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// tryer is a Call as the attempt loop sees it.
type tryer Call

// Prepare implements retry.Tryer: it picks an endpoint and takes its permits.
// It comes after the budget has paid for the attempt and before the response
// of the one before is given up.
func (t *tryer) Prepare(ctx context.Context, n int) (retry.Try, error) {
	c := (*Call)(t)
	// The first attempt begins with its call, which saves a look at the clock,
	// unless something has come between.
	now := c.start
	if f := c.dest.fault; f != nil && n == 1 && !f.PerAttempt() {
		// Within the time of the call, and before anything that an endpoint
		// could be blamed for.
		abort, err := f.Inject(ctx, c.in)
		if err != nil {
			return nil, err
		}
		if abort != nil {
			return nil, &aborted{abort}
		}
		now = time.Now()
	} else if n > 1 || c.entered.Load() || c.turn != nil {
		now = time.Now()
	}
	a := &c.first
	if n > 1 {
		a = new(attempt)
	}
	a.call, a.n, a.start, a.prev = c, n, now, c.last
	prepared := false
	defer func() {
		if !prepared {
			// Also when code plugged into the mesh panicked.
			a.giveBack()
			a.free()
		}
	}()
	if err := a.admit(ctx); err != nil {
		return nil, err
	}
	if err := a.pick(ctx); err != nil {
		return nil, err
	}
	prepared = true
	c.last = a
	c.avoid(a.target.Endpoint)
	a.target.control.Begin()
	return a, nil
}

// avoid lets no further attempt of the call go to an endpoint if there is
// another.
func (c *Call) avoid(e *endpoint.Endpoint) {
	if c.tried == nil {
		c.tried = c.triedBuf[:0]
	}
	c.tried = append(c.tried, e)
}

// aborted is what the loop returns of a call that a fault ends.
type aborted struct{ *fault.Abort }

func (*aborted) Error() string { return "injected fault" }

// admit takes the permits of the service: that of its breaker first, which
// refuses without a wait. It comes before the pick, which would be old by the
// time that a place is free.
func (a *attempt) admit(ctx context.Context) error {
	c := a.call
	if b := c.dest.breaker; b != nil {
		if c.mirrored {
			// A copy goes where calls would, and decides nothing.
			if b.State() != breaker.Closed && c.dest.policies.Breaker.Mode == outcome.Enforce {
				return &Error{Reason: outcome.BreakerOpen, RetryAfter: b.RetryAfter(a.start)}
			}
		} else {
			permit, err := b.Allow(a.start)
			if err != nil {
				return refusal(err)
			}
			a.permit = permit
		}
	}
	if c.dest.limiter == nil || c.mirrored || a.takeOver() {
		return nil
	}
	slot, err := a.place(ctx)
	if err != nil {
		return c.refuse(outcome.LimitReached, err)
	}
	if a.slot = slot; !slot.Waited() {
		return nil
	}
	a.start = time.Now()
	if c.dest.breaker == nil {
		return nil
	}
	// The breaker may have opened while the call stood in line.
	a.permit.Release()
	permit, err := c.dest.breaker.Allow(a.start)
	a.permit = permit
	return refusal(err)
}

// takeOver takes the place of the attempt before, whose response is given up
// for this one and still has it. A call has one place.
func (a *attempt) takeOver() bool {
	if a.prev == nil || a.prev.slot == (breaker.Slot{}) {
		return false
	}
	a.slot, a.prev.slot, a.prev.lent = a.prev.slot, breaker.Slot{}, true
	return true
}

// giveBack is the reverse of takeOver, if there is something to give back.
func (a *attempt) giveBack() {
	if p := a.prev; p != nil && p.lent {
		p.slot, a.slot, p.lent = a.slot, breaker.Slot{}, false
	}
}

// place takes a place under the limit. A further attempt does not wait for
// one: there is a result to return.
func (a *attempt) place(ctx context.Context) (breaker.Slot, error) {
	l := a.call.dest.limiter
	if a.prev != nil {
		return l.TryAcquire()
	}
	gone := oldCancel(a.call.in)
	if gone == nil {
		return l.Acquire(ctx)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-gone:
			stop()
		case <-ctx.Done():
		}
	}()
	return l.Acquire(ctx)
}

// refusal returns the error of a call that a breaker refuses.
func refusal(err error) error {
	if refused, ok := errors.AsType[*breaker.OpenError](err); ok {
		return &Error{Reason: outcome.BreakerOpen, RetryAfter: refused.RetryAfter, Err: err}
	}
	return err
}

// refuse returns the error of a call that could not go on, for a reason
// unless the caller has left.
func (c *Call) refuse(reason outcome.Reason, err error) error {
	if errors.Is(c.in.Context().Err(), context.Canceled) || cancelled(c.in) {
		reason = outcome.Cancelled
	}
	return &Error{Reason: reason, Err: err}
}

// pick chooses a target and notes who chose and when. The first attempt waits
// for one while there is nothing to pick; a further one does not, for there is
// a result to return.
func (a *attempt) pick(ctx context.Context) error {
	c := a.call
	q := balancer.Query{Now: a.start, Draw: c.mesh.options.draw(), Attempt: a.n, Avoid: c.tried}
	if q.Hash, q.HasHash = hash(c.route.sticky, c.in); !q.HasHash {
		q.Hash, q.HasHash = hash(c.dest.key, c.in)
	}
	for {
		g := c.dest.subset.gen.Load()
		a.observer = g.observer
		if a.try(g, q.Now) {
			a.start = q.Now
			return nil
		}
		for picked := range maxRepicks + 1 {
			var t *target
			if g.picker != nil {
				t = g.targets[g.picker.Pick(q)]
			}
			if t == nil {
				break
			}
			a.target, a.feeds = t, t.feeds.Load()
			if a.permitted(q.Now, picked == maxRepicks) {
				a.start = q.Now
				a.expect(g)
				return nil
			}
			c.avoid(t.Endpoint)
			q.Avoid = c.tried
		}
		if err := c.wait(ctx, a.prev == nil, g); err != nil {
			return c.refuse(outcome.NoEndpoint, err)
		}
		q.Now = time.Now()
	}
}

// maxRepicks is how often an attempt picks again because the breaker of the
// endpoint refuses.
const maxRepicks = 2

// permitted takes the permit of the picked endpoint's own breaker. Should that
// have opened a moment ago, another endpoint is picked; where there is none the
// attempt goes on without a permit, for only the service's breaker refuses.
func (a *attempt) permitted(now time.Time, last bool) bool {
	if a.feeds.breaker == nil || a.call.mirrored {
		return true
	}
	permit, err := a.feeds.breaker.Allow(now)
	if a.own = permit; err != nil {
		a.own = breaker.Permit{}
	}
	return err == nil || last
}

// try makes the attempt the trial of an endpoint that is left out and due, if
// there is one. Copies are no trials, and no call is one twice.
func (a *attempt) try(g *generation, now time.Time) bool {
	if len(g.trials) == 0 || a.prev != nil || a.call.mirrored {
		return false
	}
	for _, t := range g.next(now, a.call.repeatable()) {
		if now.Before(t.due(now).Add(t.patience(a.call))) {
			continue
		}
		if f, of, own, ok := t.claim(now); ok {
			a.target, a.feeds, a.trial, a.own = t, f, of, own
			return true
		}
	}
	return false
}

// repeatable reports whether the call can be made again elsewhere, by the mesh
// or by who made it.
func (c *Call) repeatable() bool {
	return repeatable(c.in.Method) && (c.in.Body == nil || c.in.Body == http.NoBody || c.in.GetBody != nil)
}

// waitAgain is after what time a call that waits looks again for a trial that
// is due but belongs to another call.
const waitAgain = 10 * lookAgain

var errNoWait = errors.New("waited as long as the service allows")

// wait returns nil when there is another generation to pick from.
func (c *Call) wait(ctx context.Context, first bool, g *generation) error {
	limit := c.dest.maxWait
	if !first || limit < 0 || g.superseded == nil {
		return g.why()
	}
	var late, due <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit - min(limit, time.Since(c.start)))
		defer timer.Stop()
		late = timer.C
	}
	if at, ok := g.earliest(time.Now(), c); ok {
		timer := time.NewTimer(max(time.Until(at), waitAgain))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-g.superseded:
		return nil
	case <-due:
		return nil
	case <-late:
		return fmt.Errorf("%w; %w", g.why(), errNoWait)
	case <-oldCancel(c.in):
		return fmt.Errorf("%w; waited until: %w", g.why(), context.Canceled)
	case <-ctx.Done():
		if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
			return fmt.Errorf("%w; waited until: %w: %w", g.why(), ctx.Err(), cause)
		}
		return fmt.Errorf("%w; waited until: %w", g.why(), context.Cause(ctx))
	}
}
