package breaker

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// defaultInFlight is the limit that Envoy has for requests.
const defaultInFlight = 1024

// Limit says how many calls there may be at once. It is data, and comparable;
// zero fields are the defaults named here.
type Limit struct {
	// Mode Observe counts what it would have refused and lets every call
	// through at once.
	Mode outcome.Mode `json:"mode,omitzero"`
	// InFlight is the most calls at once; 0 is 1024.
	InFlight int `json:"inFlight,omitzero"`
	// Waiting is the most calls that wait for a place, in the order of their
	// arrival; 0 is none: a call that finds no place is refused.
	Waiting int `json:"waiting,omitzero"`
	// MaxWait is how long a call waits before it is refused; 0 is as long as
	// its context allows. It needs Waiting.
	MaxWait time.Duration `json:"maxWait,omitzero"`
}

// Validate returns every fault of the limit, joined, each with the path of
// its field.
func (l Limit) Validate() error {
	var faults []error
	fault := func(path, format string, args ...any) {
		faults = append(faults, fmt.Errorf(path+": "+format, args...))
	}
	if l.Mode > outcome.Observe {
		fault("mode", "%d is neither Enforce nor Observe", l.Mode)
	}
	for _, f := range []struct {
		path string
		v    int
	}{{"inFlight", l.InFlight}, {"waiting", l.Waiting}} {
		if f.v < 0 || f.v > math.MaxInt32 {
			fault(f.path, "%d is not between 0 and %d", f.v, math.MaxInt32)
		}
	}
	if l.MaxWait < 0 {
		fault("maxWait", "%v is negative", l.MaxWait)
	} else if l.MaxWait > 0 && l.Waiting == 0 {
		fault("maxWait", "needs waiting")
	}
	return errors.Join(faults...)
}

// Effective returns the limit with its defaults filled in.
func (l Limit) Effective() Limit {
	or(&l.InFlight, defaultInFlight)
	return l
}
