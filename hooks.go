package tulle

import (
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
)

// Hooks are functions that a mesh tells what happened; nil ones are skipped.
// Where they do not say otherwise they are called on the goroutine of the call,
// by many at once, with no lock held and after everything has been accounted
// for, and must not block.
type Hooks struct {
	// AttemptDone is called once for each attempt, when its response headers
	// came or can no longer come.
	AttemptDone func(AttemptDone)
	// CallDone is called once for each call to a service and for each that a
	// route answers, when the body of its response has ended or it has failed.
	CallDone func(CallDone)
	// BreakerChanged is called when a breaker, of a service or an endpoint,
	// opens and when it closes again: once each for an incident, however
	// often it tries in between. Unlike the others it is called on a goroutine
	// of its own, one event after the other. If it is nil, the mesh writes a
	// line to its log, at level WARN for a breaker that opens.
	BreakerChanged func(breaker.Event)
}

// AttemptDone describes an attempt at its response headers.
type AttemptDone struct {
	// Call is the call that the attempt belongs to.
	Call *Call
	// Attempt counts from 1. What is made in the place of one whose request was
	// sent back (see outcome.Result) has the same number.
	Attempt int
	// Endpoint is the address that the attempt was made at.
	Endpoint string
	// Result is the judgement and its measurements.
	Result outcome.Result
	// Err is the error of the attempt, nil if there was a response.
	Err error
}

// CallDone describes a call that has ended.
type CallDone struct {
	// Call is the call. Its Request must not be changed.
	Call *Call
	// Request is the request as call middleware passed it on, without any as
	// the caller made it.
	Request *http.Request
	// Endpoint is the address that gave the response, if one did.
	Endpoint string
	// Status is the status code of the response, 0 without one.
	Status int
	// Class is the judgement on the response, what its body came to included,
	// zero without one.
	Class outcome.Class
	// Reason is why the mesh answered, refused or gave up the call itself.
	Reason outcome.Reason
	// Attempts is how many attempts were sent.
	Attempts int
	// Duration is the time from the start of the call to its end.
	Duration time.Duration
	// Err is what the call, or the body of its response, failed with.
	Err error
}

// and returns hooks that call h, then o.
func (h Hooks) and(o Hooks) Hooks {
	return Hooks{
		AttemptDone: both(h.AttemptDone, o.AttemptDone),
		CallDone:    both(h.CallDone, o.CallDone),

		BreakerChanged: both(h.BreakerChanged, o.BreakerChanged),
	}
}

func both[T any](f, g func(T)) func(T) {
	if f == nil {
		return g
	}
	if g == nil {
		return f
	}
	return func(v T) { f(v); g(v) }
}
