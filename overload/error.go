package overload

import (
	"fmt"
	"time"
)

// retryAfter is the least that the header can say, and the most that our own
// clients wait for by default. They ask another endpoint meanwhile.
const retryAfter = time.Second

// Error is what Enter refuses with.
type Error struct {
	// InFlight and Waiting are how many requests there were, Limit how many
	// might have been in flight.
	InFlight, Waiting, Limit int
	// Waited is how long the refused one had waited.
	Waited time.Duration
	// RetryAfter is when to ask again, in whole seconds and never 0.
	RetryAfter time.Duration
}

// Error returns a sentence.
func (e *Error) Error() string {
	s := fmt.Sprintf("overloaded: %d requests in flight of %d and %d waiting", e.InFlight, e.Limit, e.Waiting)
	if e.Waited > 0 {
		s += fmt.Sprintf(", no place within %v", e.Waited.Round(time.Microsecond))
	}
	return s
}
