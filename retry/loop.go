package retry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Options is what a Loop is made of.
type Options struct {
	// Policy says when a call is repeated; nil is never.
	Policy *Policy
	// Timeout is the time that a call is given from the beginning of Do to
	// the end of its response body, all attempts and waits included; 0 is no
	// limit of its own. An earlier deadline of the caller takes its place.
	Timeout time.Duration
	// Budget is shared by the loops of one service; nil makes one of its own
	// from Policy.Budget.
	Budget *Budget
	// Counters is where the loop counts; nil is a place of its own.
	Counters *Counters
	// Draw is the source of chance for waits, called by many goroutines at
	// once; nil is the generator of the Go runtime.
	Draw func() uint64
}

// Loop makes the attempts of calls. It is immutable and safe for concurrent
// use. It is made by New.
type Loop struct {
	policy   Policy // effective
	armed    bool   // more than one attempt is made, or decided on under Observe
	observe  bool
	classes  uint16 // Policy.On as a set of bits
	timeout  time.Duration
	perTry   time.Duration // enforced
	budget   *Budget
	counters *Counters
	chance   func() uint64
	errTry   TimeoutError
	errCall  TimeoutError
}

// New returns a Loop, or every fault of the options, joined, each with its
// path. It copies the policy.
func New(o Options) (*Loop, error) {
	var faults []error
	if o.Timeout < 0 {
		faults = append(faults, fmt.Errorf("timeout: %v is negative", o.Timeout))
	}
	l := &Loop{timeout: o.Timeout, budget: o.Budget, counters: o.Counters, chance: o.Draw}
	if o.Policy != nil {
		faults = append(faults, o.Policy.Validate())
		if o.Timeout > 0 && o.Policy.PerTry > o.Timeout {
			faults = append(faults, fmt.Errorf("perTry: %v exceeds timeout %v", o.Policy.PerTry, o.Timeout))
		}
		l.policy = o.Policy.Effective()
		l.observe = l.policy.Mode == outcome.Observe
		l.armed = l.policy.Attempts > 1
		if !l.observe {
			l.perTry = l.policy.PerTry
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for _, c := range l.policy.On {
		l.classes |= 1 << c
	}
	if l.budget == nil {
		l.budget = NewBudget(l.policy.Budget)
	}
	if l.counters == nil {
		l.counters = new(Counters)
	}
	if l.chance == nil {
		l.chance = rand.Uint64
	}
	l.errTry = TimeoutError{Limit: l.policy.PerTry, PerTry: true}
	l.errCall = TimeoutError{Limit: l.timeout}
	return l, nil
}

// Budget returns the budget that the loop spends from.
func (l *Loop) Budget() *Budget { return l.budget }

// Counters returns where the loop counts.
func (l *Loop) Counters() *Counters { return l.counters }

// Do makes the attempts of one call through t and returns the response or the
// error of the last one. ctx is the parent of all that is done; it has the
// values of the context of in and need not be it. The request is only read;
// its body is closed on every path, possibly after Do has returned.
//
// A response is only given up for a retry when the budget has paid for the
// next attempt and t has prepared it. The errors of t are returned as they
// are; a limit of the loop that passed is a *TimeoutError; if ctx ends during
// a wait, the error is its cause.
//
// Without a limit that ends before the one of ctx, a call that is not
// repeated costs no allocation if its request has no body or has GetBody, and
// ctx is handed on as it is.
func (l *Loop) Do(ctx context.Context, in *http.Request, t Tryer) (*http.Response, error) {
	c := call{loop: l, ctx: ctx, src: source{in: in}, deadline: l.deadline(ctx)}
	if l.armed {
		l.counters.calls.Add(1)
		l.budget.call()
		if !l.observe && in.GetBody == nil && hasBody(in) {
			c.src.replay = newReplay(in, l.policy.BufferBody)
		}
	}
	s := l.arm(ctx, c.deadline)
	panicked := true
	defer func() {
		if panicked {
			s.end()
			c.src.settle(true)
		}
	}()
	try, err := t.Prepare(s.or(ctx), 1)
	if err != nil {
		if l.armed {
			l.counters.unsent.Add(1)
		}
		panicked = false
		s.end()
		c.src.settle(true)
		return nil, err
	}
	var begin time.Time
	if l.observe && l.policy.PerTry > 0 {
		begin = time.Now()
	}
	resp, o, err := c.send(s, try, c.src.first())
	panicked = false
	if !begin.IsZero() && time.Since(begin) > l.policy.PerTry {
		o = outcome.Outcome{Class: outcome.Timeout}
	}
	if l.armed && (l.policy.CheckRetry != nil || l.asks(resp, o)) {
		return c.again(t, resp, o, err)
	}
	c.src.settle(err != nil)
	return resp, err
}

// deadline returns when the time of a call that begins now is over, zero if
// ctx ends before that or there is no limit.
func (l *Loop) deadline(ctx context.Context) time.Time {
	if l.timeout == 0 {
		return time.Time{}
	}
	at := time.Now().Add(l.timeout)
	if d, ok := ctx.Deadline(); ok && !d.After(at) {
		return time.Time{}
	}
	return at
}

// asks reports whether the policy retries on a result.
func (l *Loop) asks(resp *http.Response, o outcome.Outcome) bool {
	return l.classes&(1<<o.Class) != 0 ||
		resp != nil && slices.Contains(l.policy.Statuses, resp.StatusCode)
}
