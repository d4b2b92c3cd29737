package tulle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
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
	} else if n > 1 || c.entered.Load() {
		now = time.Now()
	}
	picked, observer, now, err := c.pick(ctx, n, now)
	if err != nil {
		return nil, err
	}
	a := &c.first
	if n > 1 {
		a = new(attempt)
	}
	a.call, a.n, a.target, a.observer, a.start, a.prev = c, n, picked, observer, now, c.last
	c.last = a
	if c.tried == nil {
		c.tried = c.triedBuf[:0]
	}
	c.tried = append(c.tried, picked.Endpoint)
	picked.control.Begin()
	return a, nil
}

// aborted is what the loop returns of a call that a fault ends.
type aborted struct{ *fault.Abort }

func (*aborted) Error() string { return "injected fault" }

// pick chooses a target and says who chose and when. The first attempt waits for one
// while there is nothing to pick; a further one does not, for there is a
// result to return.
func (c *Call) pick(ctx context.Context, n int, now time.Time) (*target, balancer.Observer, time.Time, error) {
	q := balancer.Query{Now: now, Draw: c.mesh.options.draw(), Attempt: n, Avoid: c.tried}
	if q.Hash, q.HasHash = hash(c.route.sticky, c.in); !q.HasHash {
		q.Hash, q.HasHash = hash(c.dest.key, c.in)
	}
	for {
		g := c.dest.subset.gen.Load()
		if g.picker != nil {
			if t := g.targets[g.picker.Pick(q)]; t != nil {
				return t, g.observer, q.Now, nil
			}
		}
		if err := c.wait(ctx, n, g); err != nil {
			reason := outcome.NoEndpoint
			if errors.Is(c.in.Context().Err(), context.Canceled) || cancelled(c.in) {
				reason = outcome.Cancelled
			}
			return nil, nil, now, &Error{Reason: reason, Err: err}
		}
		q.Now = time.Now()
	}
}

var errNoWait = errors.New("waited as long as the service allows")

// wait returns nil when there is another generation to pick from.
func (c *Call) wait(ctx context.Context, n int, g *generation) error {
	limit := c.dest.maxWait
	if n > 1 || limit < 0 || g.superseded == nil {
		return g.why()
	}
	var late <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit - min(limit, time.Since(c.start)))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-g.superseded:
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
