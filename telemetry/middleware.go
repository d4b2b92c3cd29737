package telemetry

import (
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/internal/body"
	"github.com/tulle-mesh/tulle/outcome"
)

// Middleware wraps a RoundTripper; nil is http.DefaultTransport. Each request
// is an attempt and a call in one: a span of kind CLIENT to the end of the
// body, http.client.request.duration, trace context, and a line of the access
// log. It is for clients without a mesh; a mesh records its own calls.
func (s *Scope) Middleware(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	if s == nil {
		return next
	}
	return &transport{s, next}
}

type transport struct {
	scope *Scope
	next  http.RoundTripper
}

func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

var errNoResponse = errors.New("telemetry: neither a response nor an error was returned")

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(in *http.Request) (*http.Response, error) {
	x := &exchange{scope: t.scope, in: in, start: time.Now()}
	out := x.send()
	following := false
	defer func() {
		if !following {
			x.end()
		}
	}()
	resp, err := t.next.RoundTrip(out)
	if resp == nil && err == nil {
		err = errNoResponse
	}
	if err != nil {
		resp = nil
	}
	x.headers(resp, err)
	if err != nil {
		return nil, err
	}
	resp.Request = in
	following = true
	x.hook.Follow(resp, in.Method, x)
	return resp, nil
}

// exchange is one request through the middleware.
type exchange struct {
	scope *Scope
	in    *http.Request
	start time.Time
	span  Span
	call  Call
	// judged says that next has returned, and did not panic.
	judged bool
	out    outcome.Outcome
	resp   *http.Response
	hook   body.Hook
}

// send begins the span and returns the request to send.
func (x *exchange) send() *http.Request {
	r, ctx := x.scope.recorder, x.in.Context()
	if r.tracer != nil {
		ctx, x.span = x.scope.client(r.extract(ctx, x.in.Header), x.in, 1, "")
	}
	if x.span.ctx == nil && !r.Propagates() {
		return x.in
	}
	out := x.in.WithContext(ctx)
	if r.Propagates() && out.Header != nil {
		out.Header = maps.Clone(out.Header)
		r.Inject(ctx, out.Header)
	}
	return out
}

func (x *exchange) headers(resp *http.Response, err error) {
	x.judged, x.resp = true, resp
	now := time.Now()
	x.out = outcome.HTTP{}.Classify(resp, err)
	x.call.Err, x.call.Class, x.call.Status = err, x.out.Class, x.out.Status
	x.scope.Attempted(x.span, Attempt{
		Request: x.in, Response: resp, Err: err,
		Result: outcome.Result{Outcome: x.out, At: now, Latency: now.Sub(x.start), Cut: err != nil},
	})
}

// BodyEnd implements body.Ender.
func (x *exchange) BodyEnd(err error) {
	if late := (outcome.HTTP{}).ClassifyEnd(x.out, x.resp, err); late != x.out {
		x.call.Class = late.Class
		x.span.Late(late.Class, err)
	}
	x.call.Err = err
	x.end()
}

func (x *exchange) end() {
	if !x.judged {
		x.call.Reason = outcome.Internal
		x.span.Panicked()
	}
	x.span.End()
	x.call.Request, x.call.Attempts, x.call.Duration = x.in, 1, time.Since(x.start)
	x.scope.access(x.span.or(x.in.Context()), &x.call)
}
