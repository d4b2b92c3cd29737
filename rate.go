package tulle

import (
	"context"
	"errors"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
)

// charge waits for the turn of the call under a rate limit, within the time of
// the call, and returns the context in which that goes on: with what is left
// of the time. It comes before everything that costs something. Copies are not
// charged.
func (c *Call) charge(ctx context.Context) (context.Context, error) {
	if c.dest.rate == nil || c.mirrored {
		return ctx, nil
	}
	in, limit := c.in, c.dest.policies.Timeout
	begin := c.start
	if limit > 0 {
		if c.entered.Load() {
			begin = time.Now() // the time of call middleware is its own
		}
		// A wait that is bounded more closely needs no other bound.
		if c.dest.rateWait > limit {
			bound, stop := context.WithDeadlineCause(in.Context(), begin.Add(limit), &retry.TimeoutError{Limit: limit})
			defer stop()
			in = in.WithContext(bound)
		}
	}
	d, err := c.dest.rate.Acquire(in, 1)
	if err != nil {
		if refused, ok := errors.AsType[*ratelimit.Error](err); ok {
			return ctx, &Error{Reason: outcome.RateLimited, RetryAfter: refused.RetryAfter, Err: err}
		}
		return ctx, c.refuse(outcome.RateLimited, err)
	}
	if d.WouldRefuse() {
		c.spared = &d
	}
	if d.Waited == 0 {
		return ctx, nil
	}
	c.turn = &turn{stop: func() {}}
	if limit <= 0 {
		return ctx, nil
	}
	c.turn.until = begin.Add(limit)
	over := &retry.TimeoutError{Limit: limit}
	ctx, c.turn.stop = context.WithDeadlineCause(ctx, c.turn.until, over)
	if ctx.Err() != nil && context.Cause(ctx) == error(over) {
		return ctx, over
	}
	return ctx, nil
}

// turn is what a rate limit has made a call wait for.
type turn struct {
	// until is when the call's own time is over, zero without a limit.
	until time.Time
	// stop lets go of that time.
	stop context.CancelFunc
}

// over reports whether a call that has waited is out of its own time.
func (t *turn) over(now time.Time) bool {
	return t != nil && !t.until.IsZero() && !now.Before(t.until)
}
