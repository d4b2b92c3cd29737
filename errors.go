package tulle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Error is what a call through the mesh fails with. It says which part of
// the mesh refused the call or what the last attempt failed with; the cause
// is found by errors.Is and errors.As. A response of an endpoint, whatever
// its status, is a response and no error.
type Error struct {
	// Reason is why there is no response.
	Reason outcome.Reason
	// Service, Subset and Route say how far the call got; each may be empty.
	Service, Subset, Route string
	// Endpoint is the address of the last attempt, empty if none was made.
	Endpoint string
	// Attempts is how many attempts were sent.
	Attempts int
	// RetryAfter is how long the same call would be refused again if nothing
	// changes, 0 where that is not known: the rest of the time for which a
	// breaker is open.
	RetryAfter time.Duration
	// Err is the cause, which may be nil.
	Err error
}

// Error returns a sentence: where, what, and why.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("tulle: ")
	if e.Service != "" {
		b.WriteString("service " + e.Service)
		if e.Subset != "" {
			b.WriteString(" (" + e.Subset + ")")
		}
		if e.Endpoint != "" {
			b.WriteString(" at " + e.Endpoint)
		}
		b.WriteString(": ")
	} else if e.Route != "" {
		b.WriteString("route " + e.Route + ": ")
	}
	b.WriteString(e.Reason.Text())
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " after %d attempts", e.Attempts)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the call ran out of time, whoever set the time.
func (e *Error) Timeout() bool {
	switch e.Reason {
	case outcome.ConnectTimeout, outcome.AttemptTimeout, outcome.CallTimeout, outcome.CallerDeadline:
		return true
	}
	return errors.Is(e.Err, context.DeadlineExceeded)
}
