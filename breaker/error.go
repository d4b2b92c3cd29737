package breaker

import (
	"fmt"
	"time"
)

// OpenError is what Allow refuses with.
type OpenError struct {
	// Service and Endpoint are those of the Options.
	Service, Endpoint string
	// RetryAfter is what remains of the open time. It is 0 if the breaker is
	// half-open and all its trials are under way: nobody knows then.
	RetryAfter time.Duration
	// Until is when the open time ends, zero if RetryAfter is.
	Until time.Time
}

// Error returns a sentence.
func (e *OpenError) Error() string {
	of := "circuit breaker"
	if e.Service != "" {
		of += " of " + e.Service
	}
	if e.Endpoint != "" {
		of += " for " + e.Endpoint
	}
	if e.RetryAfter == 0 {
		return of + " is half-open, and its trials are under way"
	}
	return fmt.Sprintf("%s is open for another %v", of, e.RetryAfter.Round(time.Millisecond))
}

// LimitError is what Acquire refuses with.
type LimitError struct {
	// InFlight and Waiting are how many calls there were.
	InFlight, Waiting int
	// Waited is how long the refused call had waited.
	Waited time.Duration
}

// Error returns a sentence.
func (e *LimitError) Error() string {
	s := fmt.Sprintf("concurrency limit: %d calls in flight and %d waiting", e.InFlight, e.Waiting)
	if e.Waited > 0 {
		s += fmt.Sprintf(", no place within %v", e.Waited)
	}
	return s
}
