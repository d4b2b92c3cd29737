package breaker

import (
	"math"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// core is the breaker of failsafe-go. It has the moving window, the counting
// of trials and the transitions that follow from it. What it has no notion of
// is in Breaker: results that come after the state they belong to, results
// that say nothing, trials that never answer.
type core = circuitbreaker.CircuitBreaker[struct{}]

func newCore(p Policy) core {
	// The trigger of the core itself is out of reach. Its rate is rounded to
	// two digits, so that 99 of 200 are taken for a half, and it would count
	// a call twice whose result was amended. Breaker asks for the counts
	// instead, and calls Open.
	return circuitbreaker.NewBuilder[struct{}]().
		WithFailureThresholdPeriod(math.MaxUint, p.Window).
		WithSuccessThreshold(uint(p.HalfOpenCalls)).
		WithDelay(p.OpenFor).
		Build()
}

// window counts calls and the bad ones among them over the time that its core
// looks back. Times are offsets as in Breaker. It is guarded by the mutex of
// its Breaker.
type window struct {
	core
	span time.Duration
	// surplus is how many calls the core has counted twice, as good at first
	// and as bad later, until is how long it can have them in its window.
	surplus uint
	until   time.Duration
}

func (w *window) add(bad bool, at time.Duration) {
	switch {
	case bad:
		w.RecordFailure()
	case w.surplus > 0 && at <= w.until:
		// There is a good call too many already.
		w.surplus--
	default:
		w.RecordSuccess()
	}
}

// amend says that a call that was added as good was bad.
func (w *window) amend(at time.Duration) {
	if at > w.until {
		w.surplus = 0
	}
	w.RecordFailure()
	w.surplus++
	w.until = at + w.span
}

// counts returns what the window held when something was last added to it.
func (w *window) counts(at time.Duration) (calls, bad int) {
	m := w.Metrics()
	all, failures := m.Executions(), m.Failures()
	if at <= w.until {
		all -= min(all, w.surplus)
	}
	return int(max(all, failures)), int(failures)
}

// forget closes the core and empties its window, which it does as it closes.
func (w *window) forget() {
	w.Open()
	w.Close()
	w.surplus = 0
}

// reached reports whether bad is at least that share of calls, exactly.
func reached(bad, calls int, share float64) bool {
	return calls > 0 && float64(bad)/float64(calls) >= share
}
