package ratelimit

import (
	"fmt"
	"time"
)

// Decision is what a Limiter says of one request. It is a value.
type Decision struct {
	// Allowed reports whether the request is let through. It is then charged
	// to all policies, and otherwise to none.
	Allowed bool
	// Policy is the name of the policy that the numbers below are of. Of
	// those that refuse it is the one with the longest wait, of those that
	// allow the one with the fewest requests left. Policies under Observe are
	// never named; it is empty where there is no other, or where a Store has
	// failed.
	Policy string
	// Limit is the burst of the policy, Remaining what of it is left.
	Limit, Remaining int64
	// Reset is when all of the burst will be back, if nothing is charged.
	Reset time.Duration
	// RetryAfter is after what time the refused request would be allowed, if
	// nothing else is charged. It is 0 if it would never be, since it costs
	// more than the burst, and where a Store has failed.
	RetryAfter time.Duration
	// Waited is how long the request has waited: for its turn, if it had to,
	// or for a Store.
	Waited time.Duration
	// StoreErr is why the Store did not decide, if it did not; Allowed is
	// then what Config.OnStoreFailure makes of it.
	StoreErr error

	limiter *Limiter
	policy  int
	// violated is the set of policies that refuse, excess that of the
	// observed ones that would.
	violated, excess uint16
}

// WouldRefuse reports whether a policy under Observe would have refused the
// request.
func (d Decision) WouldRefuse() bool { return d.excess != 0 }

// Succeeded says that the request was let through and succeeded. It counts
// where WouldRefuse is true, and is to be called once.
func (d Decision) Succeeded() {
	if d.excess != 0 {
		d.limiter.each(d.excess, func(b *limit) { b.wouldRefuseSucceeded.Add(1) })
	}
}

// Err returns the refusal as an *Error, nil if the request is allowed.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	e := &Error{Policy: d.Policy, RetryAfter: d.RetryAfter, Waited: d.Waited, Err: d.StoreErr}
	if d.violated != 0 {
		d.limiter.each(d.violated, func(b *limit) { e.Violated = append(e.Violated, b.Name) })
	}
	return e
}

// Error is what requests are refused with.
type Error struct {
	// Policy is the name of the policy with the longest wait, Violated are the
	// names of all that refuse. They are empty where a Store has failed.
	Policy   string
	Violated []string
	// RetryAfter is after what time the same request would be allowed, if
	// nothing else is charged. It is 0 if it would never be, since it costs
	// more than the burst, and where a Store has failed.
	RetryAfter time.Duration
	// Waited is how long the request had waited, for its turn or for a Store.
	Waited time.Duration
	// Err is why the Store did not decide, where it did not: the request is
	// refused by no fault of its own, and 503 says that better than 429.
	Err error
}

// Error returns a sentence.
func (e *Error) Error() string {
	if e.Err != nil {
		return "rate limit: no decision to be had: " + e.Err.Error()
	}
	s := fmt.Sprintf("rate limit %s: too many requests", e.Policy)
	switch {
	case e.RetryAfter == 0:
		s = fmt.Sprintf("rate limit %s: the request costs more than the burst", e.Policy)
	case e.RetryAfter < time.Second:
		s += fmt.Sprintf(", again in %v", e.RetryAfter.Round(time.Microsecond))
	default:
		s += fmt.Sprintf(", again in %v", e.RetryAfter.Round(time.Millisecond))
	}
	if e.Waited >= time.Millisecond {
		s += fmt.Sprintf(", after a wait of %v", e.Waited.Round(time.Millisecond))
	}
	return s
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
