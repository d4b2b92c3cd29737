package retry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/internal/body"
	"github.com/tulle-mesh/tulle/outcome"
)

// minRemaining is the least time worth an attempt. What is left of a call
// after its wait must be at least this.
const minRemaining = 5 * time.Millisecond

var (
	errNoResponse = errors.New("neither a response nor an error was returned")
	// errLegacyCancel is for http.Request.Cancel.
	errLegacyCancel = fmt.Errorf("request cancelled: %w", context.Canceled)
)

// call is one Do. It lives on the stack.
type call struct {
	loop     *Loop
	ctx      context.Context
	src      source
	deadline time.Time
}

// send makes an attempt under its limits.
func (c *call) send(s *span, try Try, b Body) (*http.Response, outcome.Outcome, error) {
	s = c.loop.armTry(c.ctx, s)
	resp, o, err := try.Send(s.or(c.ctx), b)
	switch {
	case err != nil:
		if resp != nil {
			closeBody(resp.Body)
		}
		resp = nil
	case resp == nil:
		err = errNoResponse
	}
	if s == nil {
		return resp, o, err
	}
	if err != nil {
		err = Cause(s, err)
		if _, late := errors.AsType[*TimeoutError](err); late && !o.Unsent {
			o.Class = outcome.Timeout // whatever the transport made of it
		}
		s.end()
		return nil, o, err
	}
	if !s.headers(resp) {
		closeBody(resp.Body)
		s.end()
		return nil, outcome.Outcome{Class: outcome.Timeout}, s.passed()
	}
	s.hook.Follow(resp, c.src.in.Method, s)
	return resp, o, nil
}

// again goes on after the first attempt until a result stands.
func (c *call) again(t Tryer, resp *http.Response, o outcome.Outcome, err error) (*http.Response, error) {
	counters := c.loop.counters
	ended := false
	defer func() {
		if ended {
			c.src.settle(err != nil)
			return
		}
		// Code that was plugged in has panicked.
		if resp != nil {
			closeBody(resp.Body)
		}
		c.src.settle(true)
	}()
	for n := 1; ; n++ {
		v, delay := c.decide(n, resp, o, err)
		if v == repeat {
			var a attempt
			var over error
			if a, v, over = c.ready(t, n+1, delay); v == repeat {
				counters.retries.Add(1)
				counters.cause(o.Class)
				if resp != nil {
					body.Discard(resp.Body)
					resp = nil
				}
				resp, o, err = c.send(a.span, a.try, a.body)
				continue
			}
			if over != nil {
				if resp != nil {
					closeBody(resp.Body)
				}
				resp, err = nil, over
			}
		}
		counters.verdicts[v].Add(1)
		if v == done && n > 1 && err == nil && !o.Class.Failed() {
			counters.recovered.Add(1)
		}
		ended = true
		return resp, err
	}
}

// decide says what follows the result of attempt n, and after which wait. A
// verdict of repeat has been paid for.
func (c *call) decide(n int, resp *http.Response, o outcome.Outcome, err error) (verdict, time.Duration) {
	l := c.loop
	p := &l.policy
	want := l.asks(resp, o)
	if p.CheckRetry != nil {
		// Its error is what go-retryablehttp would return; see Policy.
		want, _ = p.CheckRetry(c.ctx, resp, err)
	}
	switch {
	case !want || resp != nil && resp.StatusCode == http.StatusSwitchingProtocols:
		return done, 0
	case n >= p.Attempts:
		return exhausted, 0
	case c.ctx.Err() != nil:
		return cancelled, 0
	case !o.Unsent && !p.Idempotent && !idempotent(c.ctx, c.src.in):
		return notSafe, 0
	case !c.src.replayable():
		// Under Observe nothing is kept, but could have been.
		if !l.observe || p.BufferBody < 0 || c.src.in.ContentLength > p.BufferBody {
			return unreplayable, 0
		}
	}
	delay, ok := c.delay(n, resp, o)
	if !ok {
		return askedToWait, 0
	}
	if left, ok := c.left(); ok && left-minRemaining < delay {
		return noTime, 0
	}
	if !l.budget.spend() {
		return overBudget, 0
	}
	if l.observe {
		l.counters.would.Add(1)
		l.counters.cause(o.Class)
		return done, 0
	}
	return repeat, delay
}

// delay returns the wait before retry n, false if the response asks for a
// longer one than is allowed.
func (c *call) delay(n int, resp *http.Response, o outcome.Outcome) (time.Duration, bool) {
	p := &c.loop.policy
	var asked time.Duration
	if p.MaxRetryAfter < 0 {
		resp = nil
	} else if resp != nil {
		asked, _ = retryAfter(resp.Header, time.Now())
		if asked > p.MaxRetryAfter {
			return 0, false
		}
	}
	if p.Backoff.Func != nil {
		return max(asked, p.Backoff.Func(p.Backoff.Base, p.Backoff.Max, n-1, resp)), true
	}
	if o.Unsent && n == 1 {
		return asked, true
	}
	// On top of what was asked for, or all who were sent away would be back at
	// the same moment.
	if d := asked + p.Backoff.draw(n, c.loop.chance()); d >= asked {
		return d, true
	}
	return math.MaxInt64, true
}

// left returns how much of the call's time is left, false if it is not
// limited.
func (c *call) left() (time.Duration, bool) {
	if !c.deadline.IsZero() {
		return time.Until(c.deadline), true
	}
	if d, ok := c.ctx.Deadline(); ok {
		return time.Until(d), true
	}
	return 0, false
}

// attempt is what an attempt needs to be sent.
type attempt struct {
	span *span
	try  Try
	body Body
}

// ready waits and prepares attempt n, which is paid for. Where it fails it
// gives everything back and says why; the error is set if the call is over
// and the last result has lost its meaning.
func (c *call) ready(t Tryer, n int, delay time.Duration) (a attempt, v verdict, over error) {
	defer func() {
		if v == repeat {
			return
		}
		if a.try != nil {
			a.try.Release()
		}
		a.span.end()
		c.loop.budget.refund()
	}()
	if over := c.wait(delay); over != nil {
		return a, cancelled, over
	}
	a.span = c.loop.arm(c.ctx, c.deadline)
	try, err := t.Prepare(a.span.or(c.ctx), n)
	if err != nil {
		if c.ctx.Err() != nil {
			return a, cancelled, context.Cause(c.ctx)
		}
		if a.span != nil && a.span.Err() != nil {
			return a, noTime, context.Cause(a.span)
		}
		return a, unprepared, nil
	}
	a.try = try
	// Last, because it takes the body from an attempt that may still be
	// sending it.
	b, err := c.src.next()
	if err != nil {
		return a, unreplayable, nil
	}
	a.body = b
	return a, repeat, nil
}

// wait returns an error if the caller goes away before d has passed.
func (c *call) wait(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	//lint:ignore SA1019 callers may set it, and http.Client does for its Timeout
	case <-c.src.in.Cancel:
		return errLegacyCancel
	}
}
