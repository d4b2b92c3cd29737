package ratelimit

import (
	"errors"
	"net/http"

	"github.com/tulle-mesh/tulle/internal/body"
	"github.com/tulle-mesh/tulle/outcome"
)

var errNoResponse = errors.New("ratelimit: the RoundTripper returned neither a response nor an error")

// Middleware returns a wrapper for a RoundTripper that refuses requests with
// an *Error, or makes them wait, when there are too many; nil wraps
// http.DefaultTransport. Each costs what the policies say. c judges, under
// Observe, what became of those let through; nil is outcome.HTTP{}. It is for
// clients without a mesh.
func (l *Limiter) Middleware(c outcome.Classifier) func(http.RoundTripper) http.RoundTripper {
	if c == nil {
		c = outcome.HTTP{}
	}
	end, _ := c.(outcome.EndClassifier)
	return func(next http.RoundTripper) http.RoundTripper {
		if next == nil {
			next = http.DefaultTransport
		}
		return &transport{limiter: l, next: next, classifier: c, end: end}
	}
}

type transport struct {
	limiter    *Limiter
	next       http.RoundTripper
	classifier outcome.Classifier
	end        outcome.EndClassifier // nil if the classifier is none
}

// CloseIdleConnections is for http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	d, err := t.limiter.Acquire(r, 1)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // there is a better error
		}
		return nil, err
	}
	resp, err := t.next.RoundTrip(r)
	switch {
	case err != nil:
		if resp != nil && resp.Body != nil {
			_ = resp.Body.Close()
		}
		return nil, err
	case resp == nil:
		return nil, errNoResponse
	}
	if !d.WouldRefuse() {
		return resp, nil
	}
	o := t.classifier.Classify(resp, nil)
	switch {
	case o.Class != outcome.Success:
	case t.end == nil:
		d.Succeeded()
	default:
		e := &excess{decision: d, end: t.end, outcome: o, resp: resp}
		e.hook.Follow(resp, r.Method, e)
	}
	return resp, nil
}

// excess waits for the end of a body, which may change what became of a
// request that Observe let through.
type excess struct {
	decision Decision
	end      outcome.EndClassifier
	outcome  outcome.Outcome
	resp     *http.Response
	hook     body.Hook
}

// BodyEnd implements body.Ender.
func (e *excess) BodyEnd(err error) {
	late := e.outcome
	if err != nil || e.hook.Whole() { // else trailers may be on their way
		late = e.end.ClassifyEnd(late, e.resp, err)
	}
	if late.Class == outcome.Success {
		e.decision.Succeeded()
	}
}
