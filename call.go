package tulle

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/telemetry"
)

// Call is one call through the mesh, from the request of its caller to the
// end of the response's body. It is the context of that request as middleware
// and transports see it; CallFrom finds it there. Where it goes is known to
// attempt middleware and hooks, and to call middleware once the next
// RoundTripper has returned.
type Call struct {
	parent // the caller's context

	mesh *Mesh
	// in is the request as the spine got it; what goes out are copies.
	in    *http.Request
	start time.Time
	// mirrored is set for a copy of another call.
	mirrored bool
	// entered is set when the call has come through the call middleware.
	entered atomic.Bool

	route  *route
	dest   *destination
	part   int    // of the route's split, -1 if it has none
	prefix string // what the route matched of the path, for rewrites

	// tried lists the endpoints that attempts were made at.
	tried    []*endpoint.Endpoint
	triedBuf [2]*endpoint.Endpoint
	// last is the latest attempt prepared; each knows the one before. sent
	// counts those that were sent, reached is where the latest of them went.
	last    *attempt
	sent    int
	reached *target
	first   attempt

	// spared is the decision of a rate limit that only observes, if it would
	// have refused the call.
	spared *ratelimit.Decision
	// turn is set if a rate limit has kept the call waiting.
	turn *turn

	scope *telemetry.Scope // nil if nobody watches
	span  telemetry.Span
}

// parent is context.Context under a name that only this package can set.
type parent = context.Context

type callKey struct{}

// Value implements context.Context.
func (c *Call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.parent.Value(key)
}

// CallFrom returns the call that ctx belongs to, nil if it belongs to none.
func CallFrom(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// Service returns the name of the service that the call goes to, "" for none.
func (c *Call) Service() string {
	if c.dest == nil {
		return ""
	}
	return c.dest.service.name
}

// Subset returns the name of the subset that the call goes to, "" for the
// whole service.
func (c *Call) Subset() string {
	if c.dest == nil {
		return ""
	}
	return c.dest.subset.name
}

// Route returns the name of the route that the call matched, "" for none.
func (c *Call) Route() string {
	if c.route == nil {
		return ""
	}
	return c.route.name
}

// Mirrored reports whether the call is a copy that a Mirror has sent.
func (c *Call) Mirrored() bool { return c.mirrored }

// Start returns when the call began.
func (c *Call) Start() time.Time { return c.start }

// Attempts returns how many attempts have been sent. It is for hooks and, in
// call middleware, for after the next RoundTripper has returned.
func (c *Call) Attempts() int { return c.sent }

// Endpoint returns the address of the latest attempt, "" if there was none.
// It is for use where Attempts is.
func (c *Call) Endpoint() string {
	if c.reached == nil {
		return ""
	}
	return c.reached.Addr()
}

// run carries a call whose route and destination are known. It comes after
// the call middleware, which may have changed the request, and after aim; the
// stages in it are in the only order in which each knows what it needs.
func (c *Call) run(in *http.Request) (*http.Response, error) {
	c.in = in
	c.begin()
	ctx := context.Context(c)
	if c.entered.Load() {
		// Call middleware may have put something around the call's context.
		ctx = in.Context()
	}
	ctx = c.watch(ctx)
	if c.dest == nil {
		return c.answer()
	}
	if c.mesh.closing.Load() {
		closeBody(in)
		return nil, c.fail(&Error{Reason: outcome.ShuttingDown})
	}
	ctx, err := c.charge(ctx)
	if err != nil {
		closeBody(in)
		return nil, c.fail(err)
	}
	returned := false
	defer func() {
		if !returned {
			// Code plugged into the mesh panicked.
			c.end(CallDone{Reason: outcome.Internal})
		}
	}()
	if len(c.route.mirrors) > 0 {
		in = c.reflect(in)
	}
	resp, err := c.dest.loop.Do(ctx, in, (*tryer)(c))
	returned = true
	if abort, ok := err.(*aborted); ok {
		return c.abort(abort)
	}
	if err != nil {
		return nil, c.fail(err)
	}
	return c.deliver(resp), nil
}

// begin counts the call in. It comes before everything that can end it.
func (c *Call) begin() {
	if c.dest != nil {
		c.dest.service.stats.begin()
	}
	if c.route.stats != nil {
		c.route.stats.begin()
		if c.part >= 0 {
			c.route.calls[c.part].Add(1)
		}
	}
}

// answer gives the configured response of the route. It comes before the
// destination is needed: such a route has none.
func (c *Call) answer() (*http.Response, error) {
	closeBody(c.in)
	resp, reason := c.route.answer(c.in, c.prefix)
	return c.reply(resp, reason), nil
}

// abort ends the call as a fault says. The loop has closed the request.
func (c *Call) abort(a *aborted) (*http.Response, error) {
	resp, err := a.Response(c.in)
	if err != nil {
		return nil, c.fail(&Error{Reason: outcome.FaultInjected, Err: err})
	}
	return c.reply(resp, outcome.FaultInjected), nil
}

// reply ends the call with a response of the mesh's own, and marks it so.
func (c *Call) reply(resp *http.Response, reason outcome.Reason) *http.Response {
	resp.Header.Set("Proxy-Status", proxyStatus(reason))
	c.route.filters.ApplyResponse(resp)
	c.end(CallDone{Status: resp.StatusCode, Reason: reason})
	return resp
}

// proxyStatus returns the field of RFC 9209 that marks a response as the
// mesh's own.
func proxyStatus(r outcome.Reason) string {
	return "tulle; error=" + r.ProxyStatus() + `; details="` + r.String() + `"`
}

// deliver hands the response of the attempt that is to be returned to the
// caller. It comes after the loop, which has given up every other response.
// The call ends when the body does.
func (c *Call) deliver(resp *http.Response) *http.Response {
	resp.Request = c.in
	c.route.filters.ApplyResponse(resp)
	for a := c.last; a != nil; a = a.prev {
		if a.resp == resp {
			a.settle(delivered)
			return resp
		}
	}
	// Attempt middleware may only change what an attempt returns, never what
	// the loop does, so there is no such response; count the call out anyway.
	c.end(CallDone{Status: resp.StatusCode})
	return resp
}

// fail ends the call with an error that says who failed and why.
func (c *Call) fail(cause error) error {
	e := &Error{Err: cause}
	if own, ok := cause.(*Error); !ok {
		e.Reason = c.reason(cause)
	} else if e.Reason, e.RetryAfter = own.Reason, own.RetryAfter; own.Service == "" && own.Route == "" {
		// The mesh refused; an Error that says more is that of another mesh.
		e.Err = own.Err
	}
	e.Service, e.Subset, e.Route = c.Service(), c.Subset(), c.Route()
	e.Endpoint, e.Attempts = c.Endpoint(), c.sent
	c.end(CallDone{Reason: e.Reason, Err: e})
	return e
}

// reason tells by the types of errors why a call has no response.
func (c *Call) reason(err error) outcome.Reason {
	late, ours := errors.AsType[*retry.TimeoutError](err)
	_, upload := errors.AsType[*outcome.RequestBodyError](err)
	_, overdue := expired(c.in, time.Now())
	switch {
	case ours && late.PerTry:
		return outcome.AttemptTimeout
	case ours:
		return outcome.CallTimeout
	case overdue:
		return outcome.CallerDeadline
	case c.in.Context().Err() != nil || errors.Is(err, context.Canceled) || cancelled(c.in):
		return outcome.Cancelled
	case upload || malformed(c.in):
		return outcome.BadRequest
	case errors.Is(err, errConnectTimeout) || errors.Is(err, errTLSTimeout):
		return outcome.ConnectTimeout
	case outcome.Unsent(err):
		return outcome.ConnectFailed
	case errors.Is(err, context.DeadlineExceeded):
		// A limit of the transport's own.
		return outcome.AttemptTimeout
	}
	return outcome.ConnectionLost
}

// end counts the call out and tells the hooks, once.
func (c *Call) end(d CallDone) {
	if c.turn != nil {
		c.turn.stop()
	}
	if c.route.stats != nil {
		c.route.stats.end(d.Status, d.Reason)
	}
	if c.spared != nil && d.Reason == outcome.NoReason && d.Status < 500 {
		c.spared.Succeeded()
	}
	if c.dest != nil && c.dest.service.stats.end(d.Status, d.Reason) {
		c.mesh.left()
	}
	hook := c.mesh.options.hooks.CallDone
	if hook == nil && c.scope == nil {
		return
	}
	d.Call, d.Request, d.Attempts, d.Duration = c, c.in, c.sent, time.Since(c.start)
	c.watched(&d)
	if hook != nil {
		hook(d)
	}
}
