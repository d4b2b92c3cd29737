package breaker

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/internal/body"
	"github.com/tulle-mesh/tulle/outcome"
)

var errNoResponse = errors.New("breaker: the RoundTripper returned neither a response nor an error")

// Middleware returns a wrapper for a RoundTripper that refuses requests with
// an *OpenError while b is open; nil wraps http.DefaultTransport. c judges the
// answers; nil is outcome.HTTP{}. That the caller cancelled is Neutral
// whatever c says. It is for clients without a mesh.
func (b *Breaker) Middleware(c outcome.Classifier) func(http.RoundTripper) http.RoundTripper {
	return wrapper(c, func(t *transport, r *http.Request) (*http.Response, error) { return t.breaking(b, r) })
}

// Middleware returns a wrapper for a RoundTripper that holds requests back, or
// refuses them with a *LimitError, while too many are in flight; nil wraps
// http.DefaultTransport. A request is in flight until its response body ends.
// c judges, under Observe, what became of those let through; nil is
// outcome.HTTP{}. It is for clients without a mesh.
func (l *Limiter) Middleware(c outcome.Classifier) func(http.RoundTripper) http.RoundTripper {
	return wrapper(c, func(t *transport, r *http.Request) (*http.Response, error) { return t.limiting(l, r) })
}

func wrapper(c outcome.Classifier, do func(*transport, *http.Request) (*http.Response, error)) func(http.RoundTripper) http.RoundTripper {
	if c == nil {
		c = outcome.HTTP{}
	}
	end, _ := c.(outcome.EndClassifier)
	return func(next http.RoundTripper) http.RoundTripper {
		if next == nil {
			next = http.DefaultTransport
		}
		return &transport{next: next, classifier: c, end: end, do: do}
	}
}

type transport struct {
	next       http.RoundTripper
	classifier outcome.Classifier
	end        outcome.EndClassifier // nil if the classifier is none
	do         func(*transport, *http.Request) (*http.Response, error)
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) { return t.do(t, r) }

// CloseIdleConnections is for http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// refuse closes the body of a request that is not sent.
func refuse(r *http.Request, err error) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close() // there is a better error
	}
	return nil, err
}

// send sends r, and sees to it that there is a response or an error, not both.
func (t *transport) send(r *http.Request) (*http.Response, error) {
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
	return resp, nil
}

func (t *transport) breaking(b *Breaker, r *http.Request) (resp *http.Response, err error) {
	start := time.Now()
	permit, err := b.Allow(start)
	if err != nil {
		return refuse(r, err)
	}
	// For a panic below, and for one of the listener with a response at hand.
	finished := false
	defer func() {
		permit.Release()
		if !finished && resp != nil && resp.Body != nil {
			_ = resp.Body.Close()
		}
	}()
	resp, err = t.send(r)
	now := time.Now()
	result := outcome.Result{
		Outcome: t.classifier.Classify(resp, err), At: now, Latency: now.Sub(start), TraceID: traceID(r.Header),
	}
	if err != nil {
		result.Cut = result.Class != outcome.Connect
		if errors.Is(r.Context().Err(), context.Canceled) {
			result.Class = outcome.Neutral
		}
	}
	permit.Done(result)
	if resp != nil && t.end != nil && !result.Class.Failed() {
		e := &judged{transport: t, permit: permit, result: result, start: start, resp: resp}
		e.hook.Follow(resp, r.Method, e)
	}
	finished = true
	return resp, err
}

// judged waits for the end of a body that may change the judgement.
type judged struct {
	*transport
	permit Permit
	result outcome.Result
	start  time.Time
	resp   *http.Response
	hook   body.Hook
}

// BodyEnd implements body.Ender.
func (j *judged) BodyEnd(err error) {
	if err == nil && !j.hook.Whole() {
		return // trailers may be on their way
	}
	late := j.end.ClassifyEnd(j.result.Outcome, j.resp, err)
	if !late.Class.Failed() {
		return
	}
	j.result.Late, j.result.Was = true, j.result.Class
	j.result.Outcome, j.result.At = late, time.Now()
	j.result.Latency = j.result.At.Sub(j.start)
	j.permit.Done(j.result)
}

func (t *transport) limiting(l *Limiter, r *http.Request) (*http.Response, error) {
	slot, err := l.Acquire(r.Context())
	if err != nil {
		return refuse(r, err)
	}
	held := false
	defer func() {
		if !held {
			slot.Release()
		}
	}()
	resp, err := t.send(r)
	if t.classifier.Classify(resp, err).Class == outcome.Success {
		slot.Succeeded()
	}
	if err != nil {
		return nil, err
	}
	e := &occupied{slot: slot}
	held = true
	e.hook.Follow(resp, r.Method, e)
	return resp, nil
}

// occupied holds a slot until a body ends.
type occupied struct {
	slot Slot
	hook body.Hook
}

// BodyEnd implements body.Ender.
func (o *occupied) BodyEnd(error) { o.slot.Release() }

// traceID returns the trace of a traceparent header, as W3C Trace Context
// writes it, zero if there is none.
func traceID(h http.Header) (id [16]byte) {
	v := h["Traceparent"]
	if len(v) != 1 || len(v[0]) < 55 || v[0][2] != '-' || v[0][35] != '-' {
		return id
	}
	if n, err := hex.Decode(id[:], []byte(v[0][3:35])); err != nil || n != len(id) {
		return [16]byte{}
	}
	return id
}
