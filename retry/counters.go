package retry

import (
	"sync/atomic"

	"github.com/tulle-mesh/tulle/outcome"
)

// verdict is what a Loop decides after an attempt.
type verdict uint8

const (
	done         verdict = iota // nothing asks for a retry
	repeat                      // there is one
	exhausted                   // Policy.Attempts have been made
	cancelled                   // the caller went away, or its time is over
	notSafe                     // the endpoint may have acted on the request
	unreplayable                // the body cannot be sent again
	askedToWait                 // Retry-After exceeds MaxRetryAfter
	noTime                      // too little time is left
	overBudget                  // the budget is spent
	unprepared                  // Tryer.Prepare failed
	numVerdicts
)

const numClasses = int(outcome.Timeout) + 1

// Counters counts what loops decide. The zero value is ready for use, by any
// number of loops and goroutines. It must not be copied.
type Counters struct {
	calls atomic.Uint64
	_     [56]byte

	unsent    atomic.Uint64 // calls without a first attempt
	retries   atomic.Uint64
	recovered atomic.Uint64
	would     atomic.Uint64
	verdicts  [numVerdicts]atomic.Uint64
	causes    [numClasses]atomic.Uint64
}

// Stats are the counts of Counters. Retries that were asked for by the result
// of an attempt but not made are counted by the first reason against them.
type Stats struct {
	// Calls counts calls under a policy with retries, Attempts the attempts
	// made for them, Retries those of them after the first.
	Calls    uint64 `json:"calls"`
	Attempts uint64 `json:"attempts"`
	Retries  uint64 `json:"retries"`
	// Recovered counts calls that ended well after a retry.
	Recovered uint64 `json:"recovered,omitempty"`
	// Exhausted: all attempts had been made.
	Exhausted uint64 `json:"exhausted,omitempty"`
	// NotSafe: the endpoint may have acted on a request that must not be
	// repeated.
	NotSafe uint64 `json:"notSafe,omitempty"`
	// Unreplayable: the request body could not be sent again.
	Unreplayable uint64 `json:"unreplayable,omitempty"`
	// AskedToWait: Retry-After was longer than MaxRetryAfter.
	AskedToWait uint64 `json:"askedToWait,omitempty"`
	// NoTime: too little of the call's time was left.
	NoTime uint64 `json:"noTime,omitempty"`
	// OverBudget: the budget was spent.
	OverBudget uint64 `json:"overBudget,omitempty"`
	// Unprepared: there was no endpoint or no permit for another attempt.
	Unprepared uint64 `json:"unprepared,omitempty"`
	// Cancelled: the caller went away.
	Cancelled uint64 `json:"cancelled,omitempty"`
	// WouldRetry counts the retries that Mode Observe did not make; the
	// other reasons count under Observe as well.
	WouldRetry uint64 `json:"wouldRetry,omitempty"`
	// Causes are the classes of the results that were answered by a retry,
	// or under Observe would have been. Under Observe the class is also what
	// became of the call.
	Causes map[outcome.Class]uint64 `json:"causes,omitempty"`
}

// Stats returns the counts so far. They are read one after the other, so
// their sums may be off by calls under way.
func (c *Counters) Stats() Stats {
	s := Stats{
		Retries: c.retries.Load(), Recovered: c.recovered.Load(), WouldRetry: c.would.Load(),
		Exhausted: c.verdicts[exhausted].Load(), NotSafe: c.verdicts[notSafe].Load(),
		Unreplayable: c.verdicts[unreplayable].Load(), AskedToWait: c.verdicts[askedToWait].Load(),
		NoTime: c.verdicts[noTime].Load(), OverBudget: c.verdicts[overBudget].Load(),
		Unprepared: c.verdicts[unprepared].Load(), Cancelled: c.verdicts[cancelled].Load(),
	}
	for i := range c.causes {
		if n := c.causes[i].Load(); n > 0 {
			if s.Causes == nil {
				s.Causes = make(map[outcome.Class]uint64)
			}
			s.Causes[outcome.Class(i)] = n
		}
	}
	unsent := c.unsent.Load()
	s.Calls = c.calls.Load()
	s.Attempts = s.Calls - min(s.Calls, unsent) + s.Retries
	return s
}

func (c *Counters) cause(class outcome.Class) {
	if int(class) < numClasses {
		c.causes[class].Add(1)
	}
}
