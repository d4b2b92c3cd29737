package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// TimeoutError says that a limit of this package, not the caller's own
// deadline, ended an attempt or a call. It is a net.Error with Timeout true,
// and errors.Is finds context.DeadlineExceeded in it.
type TimeoutError struct {
	// Limit is the time that was allowed.
	Limit time.Duration
	// PerTry is true for the limit of one attempt (Policy.PerTry), false for
	// that of the whole call (Options.Timeout).
	PerTry bool
}

// Error names the limit.
func (e *TimeoutError) Error() string {
	if e.PerTry {
		return fmt.Sprintf("no response headers within %v, the time of one attempt", e.Limit)
	}
	return fmt.Sprintf("not finished within %v, the time of the whole call", e.Limit)
}

// Timeout returns true.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary returns true, as it does for context.DeadlineExceeded.
func (e *TimeoutError) Temporary() bool { return true }

// Is reports whether target is context.DeadlineExceeded.
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Cause returns err, or in its place the *TimeoutError that ended ctx if err
// says no more than that the context ended: transports differ in whether they
// return the error of a context or its cause. A Try passes its errors through
// Cause before it judges them. That a request was never sent stays known.
func Cause(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	late, ok := context.Cause(ctx).(*TimeoutError)
	if !ok || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if outcome.Unsent(err) {
		return &outcome.UnsentError{Err: late}
	}
	return late
}
