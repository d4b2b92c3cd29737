package tulle

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// judge accounts for the attempt at the headers, once: with the endpoint, the
// service, the balancer and the hooks, in this order.
func (a *attempt) judge(resp *http.Response, err error) {
	c, now := a.call, time.Now()
	a.out = c.dest.judge.Classify(resp, err)
	r := outcome.Result{At: now, Latency: now.Sub(a.start), Cut: err != nil && a.out.Class != outcome.Connect}
	if err != nil && a.neutral(now) {
		a.out.Class = outcome.Neutral
	}
	r.Outcome, a.class = a.out, a.out.Class
	r.TraceID = c.mesh.recorder.TraceID(a.req.Context())
	r.Reported = resp != nil && a.reported(now)
	if a.sentBack {
		a.comesBack(&r)
		return
	}
	if !c.mirrored {
		if a.out.Class != outcome.Neutral {
			a.target.control.Count(a.out.Class.Failed())
		}
		if err == nil {
			c.dest.service.latency.Record(r.Latency, now)
			if c.route.latency != nil {
				c.route.latency.Record(r.Latency, now)
			}
		}
		if a.observer != nil {
			a.observer.Observe(a.target.Endpoint, r)
		}
		if a.undecided = a.isTrial() && c.dest.judgesEnd && !a.out.Class.Failed(); !a.undecided {
			a.feed(r)
		}
	}
	a.tell(resp, &r, err)
}

// tell tells those who watch of the result.
func (a *attempt) tell(resp *http.Response, r *outcome.Result, err error) {
	a.watched(resp, r, err)
	if hook := a.call.mesh.options.hooks.AttemptDone; hook != nil {
		hook(AttemptDone{Call: a.call, Attempt: a.n, Endpoint: a.target.Addr(), Result: *r, Err: err})
	}
}

// judgeEnd accounts for what the end of the body has changed, if anything: the
// judgement, or the load report.
func (a *attempt) judgeEnd() {
	late := a.out
	// Who closes the body early may do so while trailers come, and learns nothing.
	learnt := a.bodyErr != nil || a.hook.Whole()
	if end := a.call.dest.judgeEnd; end != nil && learnt && !a.call.mirrored {
		late = end.ClassifyEnd(a.out, a.resp, a.bodyErr)
	}
	reported := a.reportedAtEnd()
	if a.call.mirrored || late == a.out && !a.undecided && !reported {
		return
	}
	now := time.Now()
	r := outcome.Result{Outcome: late, At: now, Latency: now.Sub(a.start), Reported: reported, Late: true, Was: a.out.Class}
	r.TraceID = a.call.mesh.recorder.TraceID(a.req.Context())
	if late != a.out {
		if late.Class.Failed() && !a.out.Class.Failed() {
			a.target.control.Amend(a.out.Class != outcome.Neutral)
		}
		a.class = late.Class
		a.span.Late(late.Class, a.bodyErr)
	}
	if a.observer != nil && (late != a.out || reported) {
		a.observer.Observe(a.target.Endpoint, r)
	}
	if a.out.Class.Failed() || late == a.out && !a.undecided {
		// One failure that turned into another is still one, and a load report
		// is not for those who judge.
		return
	}
	// A trial that has waited for its end is judged once.
	r.Late = !a.undecided
	a.feed(r)
}

// isTrial reports whether a breaker or an endpoint depends on the attempt.
func (a *attempt) isTrial() bool { return a.trial != 0 || a.permit.Trial() || a.own.Trial() }

// feed passes a result on to those who judge the endpoint and the service.
func (a *attempt) feed(r outcome.Result) {
	a.judged = true
	a.pay(r)
	if a.feeds.observe(verdict{r, a.own, a.trial, a.leaving}) {
		a.call.dest.service.look()
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
// away, he, a rate limit or another endpoint left too little time, or the
// request was never a request.
func (a *attempt) neutral(now time.Time) bool {
	c := a.call
	if a.out.Class.Failed() && malformed(c.in) {
		return true
	}
	deadline, expired := expired(c.in, now)
	if c.turn.over(now) && (!expired || c.turn.until.Before(deadline)) {
		// A rate limit has had a part of the call's own time.
		deadline, expired = c.turn.until, true
	}
	if !expired {
		if c.in.Context().Err() != nil || cancelled(c.in) {
			return true
		}
		if !a.again() || a.req.Context().Err() == nil {
			return false
		}
		// The endpoint that sent the request back has had a part of its time.
		deadline = now
	}
	enough := neutralFloor
	if c.dest.service.latency.Count(now) >= neutralSamples {
		enough = c.dest.service.latency.Quantile(neutralQuantile, now)
	}
	return deadline.Sub(a.start) < enough
}

// expired reports whether the request's own deadline has passed. The old way
// to cancel, which http.Client still uses for its Timeout beside the new one,
// may come a moment before.
func expired(r *http.Request, now time.Time) (deadline time.Time, passed bool) {
	ctx := r.Context()
	deadline, ok := ctx.Deadline()
	if !ok {
		return deadline, false
	}
	if ctx.Err() != nil {
		return deadline, errors.Is(ctx.Err(), context.DeadlineExceeded)
	}
	return deadline, cancelled(r) && deadline.Sub(now) < time.Millisecond
}

// cancelled reports whether the caller has used the old way to cancel.
func cancelled(r *http.Request) bool {
	select {
	case <-oldCancel(r):
		return true
	default:
		return false
	}
}

func oldCancel(r *http.Request) <-chan struct{} {
	//lint:ignore SA1019 callers may still set it
	return r.Cancel
}
