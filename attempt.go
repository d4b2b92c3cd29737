package tulle

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/body"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// attempt is one try of a call at one endpoint. The first lives in its Call.
type attempt struct {
	call   *Call
	prev   *attempt
	target *target
	n      int
	start  time.Time // when the endpoint was picked
	req    http.Request
	upload upload
	hint   [1]string // the values of the header that the mesh writes
	resp   *http.Response
	// out is the judgement at the headers, bodyErr what ended the body.
	out     outcome.Outcome
	bodyErr error
	hook    body.Hook
	// state has ended, delivered or both; who adds the second ends the call.
	state atomic.Uint32
}

const (
	ended     = 1 << iota // the body of the response has
	delivered             // the response is what the caller gets
)

// Release implements retry.Try: the attempt is not made.
func (a *attempt) Release() { a.target.end() }

// Send implements retry.Try: it makes the attempt and accounts for it at the
// headers. It comes after Prepare; what belongs to the end of the body is in
// BodyEnd.
func (a *attempt) Send(ctx context.Context, b retry.Body) (*http.Response, outcome.Outcome, error) {
	c := a.call
	c.sent++
	a.req = *c.in.WithContext(ctx)
	a.body(b)
	a.address()
	a.header(ctx)

	followed := false
	defer func() {
		if !followed {
			// There is no body to follow, or code plugged into the mesh panicked.
			a.target.end()
		}
	}()
	resp, err := a.target.rt.RoundTrip(&a.req)
	if err != nil {
		err = retry.Cause(ctx, err)
		a.judge(nil, err)
		return nil, a.out, err
	}
	a.resp = resp
	a.judge(resp, nil)
	followed = true
	a.hook.Follow(resp, a.req.Method, a)
	return resp, a.out, nil
}

// body gives the attempt's request its body, with the errors of the caller's
// reader marked as such: a broken upload is none of the endpoint's fault.
func (a *attempt) body(b retry.Body) {
	a.req.Body, a.req.GetBody = b.Reader, b.Get
	if b.Reader != nil && b.Reader != http.NoBody {
		a.upload.ReadCloser = b.Reader
		a.req.Body = &a.upload
	}
}

// upload is the body of a request on its way out.
type upload struct{ io.ReadCloser }

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &outcome.RequestBodyError{Err: err}
	}
	return n, err
}

// address gives the attempt's request the URL that it is sent with. Its host
// stays the name of the service: the endpoint is only what is dialled.
func (a *attempt) address() {
	c := a.call
	if scheme := c.dest.wire.scheme(c.in.URL.Scheme); scheme != c.in.URL.Scheme {
		u := *c.in.URL
		u.Scheme = scheme
		a.req.URL = &u
	}
	if w := c.route.filters.Rewrite; w != nil {
		w.Apply(&a.req, c.prefix)
	}
}

// header gives the attempt's request a header of its own if something is to
// be changed in it.
func (a *attempt) header(ctx context.Context) {
	c := a.call
	hint := ""
	if !c.dest.external {
		hint = hintOf(ctx, a.n, a.start)
	}
	edit := !c.route.filters.Request.IsZero()
	if hint == "" && !edit || c.in.Header == nil {
		return
	}
	a.req.Header = ownHeader(c.in.Header)
	if hint != "" {
		a.hint[0] = hint
		a.req.Header[hintField] = a.hint[:]
	}
	if edit {
		c.route.filters.Request.Apply(a.req.Header)
	}
}

// judge accounts for the attempt at the headers, once: with the endpoint, the
// service, the balancer and the hooks, in this order.
func (a *attempt) judge(resp *http.Response, err error) {
	c, now := a.call, time.Now()
	a.out = c.dest.judge.Classify(resp, err)
	r := outcome.Result{At: now, Latency: now.Sub(a.start), Cut: err != nil && a.out.Class != outcome.Connect}
	if err != nil && a.neutral(err, now) {
		a.out.Class = outcome.Neutral
	}
	r.Outcome = a.out
	r.Reported = resp != nil && a.report(resp, now)
	if a.out.Class != outcome.Neutral {
		a.target.control.Count(a.out.Class.Failed())
	}
	if err == nil {
		c.dest.service.latency.Record(r.Latency, now)
	}
	a.observe(r)
	if hook := c.mesh.options.hooks.AttemptDone; hook != nil {
		hook(AttemptDone{Call: c, Attempt: a.n, Endpoint: a.target.Addr(), Result: r, Err: err})
	}
}

// An inherited deadline that leaves less than this quantile of the service's
// latency, or than the floor while there are too few samples, says nothing
// about the endpoint when it passes.
const (
	neutralQuantile = .95
	neutralSamples  = 50
	neutralFloor    = 100 * time.Millisecond
)

// neutral reports whether an error is none of the endpoint's: the caller went
// away or left too little time, or the request was never a request.
func (a *attempt) neutral(err error, now time.Time) bool {
	c := a.call
	if a.out.Class == outcome.Reset && malformed(c.in) {
		return true
	}
	if !c.expired() {
		return c.Err() != nil || cancelled(c.in)
	}
	deadline, ok := c.Deadline()
	if !ok {
		return false
	}
	enough := neutralFloor
	if c.dest.service.latency.Count(now) >= neutralSamples {
		enough = c.dest.service.latency.Quantile(neutralQuantile, now)
	}
	return deadline.Sub(a.start) < enough
}

// cancelled reports whether the caller has used the old way to cancel, which
// http.Client still does for its Timeout.
func cancelled(r *http.Request) bool {
	//lint:ignore SA1019 callers may still set it
	old := r.Cancel
	select {
	case <-old:
		return true
	default:
		return false
	}
}

// report takes over the load report of a response, if it has a valid one and
// comes from an endpoint whose word counts.
func (a *attempt) report(resp *http.Response, now time.Time) bool {
	values := resp.Header[endpoint.LoadReportHeader]
	if len(values) == 0 || a.call.dest.external {
		return false
	}
	r, err := endpoint.ParseLoadReport(values[0])
	if err != nil {
		return false
	}
	a.target.control.Report(r, now)
	return true
}

func (a *attempt) observe(r outcome.Result) {
	if o := a.call.dest.subset.observer; o != nil {
		o.Observe(a.target.Endpoint, r)
	}
}

// BodyEnd accounts for the end of the response, once: a late judgement where
// it differs, then the permits, then the call if this response is the one
// that the caller got.
func (a *attempt) BodyEnd(err error) {
	c := a.call
	err = retry.Cause(a.req.Context(), err)
	if end := c.dest.judgeEnd; end != nil {
		if late := end.ClassifyEnd(a.out, a.resp, err); late != a.out {
			now := time.Now()
			if late.Class.Failed() {
				a.target.control.Count(true)
			}
			a.observe(outcome.Result{Outcome: late, At: now, Latency: now.Sub(a.start), Late: true})
		}
	}
	a.target.end()
	a.bodyErr = err
	a.settle(ended)
}

// settle ends the call when both the body has ended and it is known that the
// caller got it.
func (a *attempt) settle(what uint32) {
	if was := a.state.Or(what); was|what == ended|delivered && was != ended|delivered {
		d := CallDone{Endpoint: a.target.Addr(), Status: a.resp.StatusCode, Err: a.bodyErr}
		if a.bodyErr != nil {
			d.Reason = a.call.reason(a.bodyErr)
		}
		a.call.end(d)
	}
}
