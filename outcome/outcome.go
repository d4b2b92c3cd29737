package outcome

import "time"

// Outcome is the judgement on one attempt.
type Outcome struct {
	// Class is what the attempt says about the endpoint.
	Class Class
	// Status is the HTTP status received, or 0 when no headers came.
	Status int
	// Unsent is true when it is certain that the endpoint cannot have acted
	// on the request, so that any method may be tried again.
	Unsent bool
}

// Result is an Outcome with its measurements. An attempt has one when its
// response headers came or can no longer come; a second one, marked Late,
// follows only where the end of the body or its trailers changed the
// judgement, or the trailers brought another load report. In the latter case
// alone Was is the Class, and there is nothing to take back.
type Result struct {
	Outcome
	// At is when the result was taken.
	At time.Time
	// Latency is the time from the start of the attempt to At.
	Latency time.Duration
	// Cut is true when the attempt was cut off before headers came. Latency
	// is then a lower bound, never a sample.
	Cut bool
	// Reported is true when the response carried a load report, in its header
	// or, of a Late result, in its trailers. The endpoint holds it by now.
	Reported bool
	// SentBack is true when the endpoint has not worked on the request, because
	// it was busier than the caller had expected, and was told so. Such a
	// result is Neutral and has a load report; Latency says nothing about the
	// time that requests take there.
	SentBack bool
	// Late marks the second result of an attempt. Was is then the class of the
	// first, which those who counted that have to take back.
	Late bool
	Was  Class
	// TraceID is the W3C trace that the attempt belongs to, zero without one.
	TraceID [16]byte
}
