package breaker

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Defaults of a Policy. Rate, volume, window and open time are those of
// Hystrix, which most of the field has taken over; Polly and the .NET
// resilience handler have the same open time.
const (
	defaultFailureRate   = .5
	defaultMinCalls      = 20
	defaultWindow        = 10 * time.Second
	defaultSlowRate      = .8
	defaultOpenFor       = 5 * time.Second
	defaultHalfOpenCalls = 3
	defaultHalfOpenFor   = 10 * time.Second

	minWindow, maxWindow = 100 * time.Millisecond, time.Hour
	maxOpenFor           = time.Hour
	maxHalfOpenCalls     = 1000
	// openJitter is the part of OpenFor that chance may add to it.
	openJitter = .25
)

// Policy says when a breaker opens and how it closes again. It is data, and
// comparable; zero fields are the defaults named here.
//
// Three triggers open it, each by itself: FailureRate, Consecutive and
// SlowCall. They count judged calls: those of the class Success and those
// that Failed. Neutral results and Overload count nowhere.
type Policy struct {
	// Mode Observe goes through the same states and counts what it would
	// have refused, and refuses nothing.
	Mode outcome.Mode `json:"mode,omitzero"`
	// FailureRate is the share of failures among the judged calls of the
	// Window, above 0 and up to 1, that opens the breaker; 0 is 0.5, negative
	// turns this trigger off.
	FailureRate float64 `json:"failureRate,omitzero"`
	// MinCalls is how many calls there must be in the Window before a rate
	// says anything; 0 is 20.
	MinCalls int `json:"minCalls,omitzero"`
	// Window is how far back the rates look, from 100 ms to an hour; 0 is
	// 10 s. It moves on by tenths.
	Window time.Duration `json:"window,omitzero"`
	// Consecutive is how many failures in a row open the breaker at once,
	// whatever the Window says; 0 turns this trigger off.
	Consecutive int `json:"consecutive,omitzero"`
	// SlowCall is the time to response headers from which on a call counts
	// as slow; 0 turns this trigger off. An attempt that was cut off counts
	// as slow if it had lasted so long by then, and else not at all.
	SlowCall time.Duration `json:"slowCall,omitzero"`
	// SlowRate is the share of slow calls in the Window that opens the
	// breaker, above 0 and up to 1; 0 is 0.8. It needs SlowCall.
	SlowRate float64 `json:"slowRate,omitzero"`
	// OpenFor is how long the breaker stays open before it lets trial calls
	// through, up to an hour; 0 is 5 s. Chance makes it longer by up to a
	// quarter, so that many processes do not come back at once.
	OpenFor time.Duration `json:"openFor,omitzero"`
	// HalfOpenCalls is the number of trial calls, up to 1000; 0 is 3. All of
	// them must succeed to close the breaker, and be no slow calls; the first
	// that does not opens it again. A trial whose result is Neutral or
	// Overload gives its place to the next call.
	HalfOpenCalls int `json:"halfOpenCalls,omitzero"`
	// HalfOpenFor is how long a trial may go unanswered before its place is
	// given to another call; 0 is 10 s. Its result still counts if it comes
	// after all.
	HalfOpenFor time.Duration `json:"halfOpenFor,omitzero"`
}

// Validate returns every fault of the policy, joined, each with the path of
// its field.
func (p Policy) Validate() error {
	var faults []error
	fault := func(path, format string, args ...any) {
		faults = append(faults, fmt.Errorf(path+": "+format, args...))
	}
	if p.Mode > outcome.Observe {
		fault("mode", "%d is neither Enforce nor Observe", p.Mode)
	}
	if math.IsNaN(p.FailureRate) || p.FailureRate > 1 {
		fault("failureRate", "%v is not a share of at most 1", p.FailureRate)
	}
	if p.FailureRate < 0 && p.Consecutive == 0 && p.SlowCall == 0 {
		fault("failureRate", "is off, and there is no other trigger")
	}
	for _, f := range []struct {
		path string
		v    int
	}{{"minCalls", p.MinCalls}, {"consecutive", p.Consecutive}, {"halfOpenCalls", p.HalfOpenCalls}} {
		if f.v < 0 {
			fault(f.path, "%d is negative", f.v)
		}
	}
	if p.HalfOpenCalls > maxHalfOpenCalls {
		fault("halfOpenCalls", "%d exceeds the limit of %d", p.HalfOpenCalls, maxHalfOpenCalls)
	}
	if p.Window != 0 && (p.Window < minWindow || p.Window > maxWindow) {
		fault("window", "%v is not between %v and %v", p.Window, minWindow, maxWindow)
	}
	if p.SlowCall < 0 {
		fault("slowCall", "%v is negative", p.SlowCall)
	}
	if math.IsNaN(p.SlowRate) || p.SlowRate < 0 || p.SlowRate > 1 {
		fault("slowRate", "%v is not a share of at most 1", p.SlowRate)
	} else if p.SlowRate > 0 && p.SlowCall == 0 {
		fault("slowRate", "needs slowCall")
	}
	if p.OpenFor < 0 || p.OpenFor > maxOpenFor {
		fault("openFor", "%v is not between 0 and %v", p.OpenFor, maxOpenFor)
	}
	if p.HalfOpenFor < 0 {
		fault("halfOpenFor", "%v is negative", p.HalfOpenFor)
	}
	return errors.Join(faults...)
}

// Effective returns the policy with its defaults filled in. What is off stays
// as it is.
func (p Policy) Effective() Policy {
	or(&p.FailureRate, defaultFailureRate)
	or(&p.MinCalls, defaultMinCalls)
	or(&p.Window, defaultWindow)
	if p.SlowCall > 0 {
		or(&p.SlowRate, defaultSlowRate)
	}
	or(&p.OpenFor, defaultOpenFor)
	or(&p.HalfOpenCalls, defaultHalfOpenCalls)
	or(&p.HalfOpenFor, defaultHalfOpenFor)
	return p
}

func or[T comparable](v *T, otherwise T) {
	if *v == *new(T) {
		*v = otherwise
	}
}
