package breaker

import (
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/tulle-mesh/tulle/outcome"
)

// judge counts a judged result, if it belongs to the state that the breaker
// is in, and reports whether there is an event to tell.
func (b *Breaker) judge(p Permit, r outcome.Result) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.stamp != b.word.Load() {
		return false
	}
	at := b.offset(r.At)
	if p.trial == 0 {
		return b.judgeCall(r, at)
	}
	if !r.Late && !b.trial.settle(p.trial) {
		return false
	}
	return b.judgeTrial(r, at)
}

// judgeCall counts a call through a closed breaker.
func (b *Breaker) judgeCall(r outcome.Result, at time.Duration) bool {
	b.last.add(r, at)
	b.added = at
	failed := r.Class.Failed()
	if r.Late && r.Was == outcome.Success {
		b.calls.amend(at)
		b.run.amend()
	} else {
		b.calls.add(failed, at)
		b.run.add(failed)
	}
	if slow := b.isSlow(r); b.slow != nil && !r.Late && (slow || !r.Cut) {
		b.slow.add(slow, at)
	}
	cause := b.cause(at)
	if cause == "" {
		return false
	}
	b.begin(at, cause)
	return true
}

// isSlow reports whether a call counts as slow. The latency of one that was
// cut off is a lower bound.
func (b *Breaker) isSlow(r outcome.Result) bool {
	return b.policy.SlowCall > 0 && !r.Late && r.Latency >= b.policy.SlowCall
}

// cause returns why a closed breaker is to open, "" if it is not.
func (b *Breaker) cause(at time.Duration) string {
	p := &b.policy
	if p.Consecutive > 0 && b.run.failures >= p.Consecutive {
		return fmt.Sprintf("%d failures in a row", b.run.failures)
	}
	if p.FailureRate > 0 {
		if calls, failures := b.calls.counts(at); calls >= p.MinCalls && reached(failures, calls, p.FailureRate) {
			return fmt.Sprintf("%d of %d calls in %v failed", failures, calls, p.Window)
		}
	}
	if b.slow != nil {
		if calls, slow := b.slow.counts(at); calls >= p.MinCalls && reached(slow, calls, p.SlowRate) {
			return fmt.Sprintf("%d of %d calls in %v took %v or longer", slow, calls, p.Window, p.SlowCall)
		}
	}
	return ""
}

// judgeTrial counts a trial, and follows the core out of the half-open state.
func (b *Breaker) judgeTrial(r outcome.Result, at time.Duration) bool {
	b.last.add(r, at)
	slow := b.isSlow(r)
	if r.Class.Failed() || slow {
		b.calls.RecordFailure()
	} else {
		b.calls.RecordSuccess()
	}
	switch b.calls.State() {
	case circuitbreaker.ClosedState:
		b.end(at, fmt.Sprintf("%d trials succeeded", b.policy.HalfOpenCalls))
		return true
	case circuitbreaker.OpenState:
		if b.incident.cause = "a trial failed: " + r.Class.String(); !r.Class.Failed() {
			b.incident.cause = fmt.Sprintf("a trial took %v", r.Latency)
		}
		b.incident.reopened++
		b.open(at)
	default:
		b.count()
	}
	return false
}

// begin opens a closed breaker.
func (b *Breaker) begin(at time.Duration, cause string) {
	b.opened++
	b.incident = incident{began: at, cause: cause, refused: b.refusals()}
	b.incident.calls, b.incident.failures, b.incident.slow = b.counts(at)
	b.calls.Open()
	b.open(at)
	b.events.add(b.event(at, true, cause))
}

// end closes a breaker that is not closed.
func (b *Breaker) end(at time.Duration, cause string) {
	b.closed(at)
	b.events.add(b.event(at, false, cause))
}

// open, halfOpen and closed enter a state.
func (b *Breaker) open(at time.Duration) {
	b.openUntil.Store(int64(at + b.draw()))
	b.enter(Open, at)
}

func (b *Breaker) halfOpen(at time.Duration) {
	b.calls.HalfOpen()
	b.recallAt.Store(int64(at + b.policy.HalfOpenFor))
	b.enter(HalfOpen, at)
	b.count()
}

func (b *Breaker) closed(at time.Duration) {
	b.calls.forget()
	if b.slow != nil {
		b.slow.forget()
	}
	b.run = run{}
	b.enter(Closed, at)
}

func (b *Breaker) enter(s State, at time.Duration) {
	b.trial.clear()
	b.places.Store(0)
	b.since = at
	b.word.Store((b.word.Load()>>2+1)<<2 | uint64(s))
}

// run is how many calls in a row have failed.
type run struct {
	failures int
	// held is true when the last call succeeded, as far as is known: what
	// comes late may take that back, and then the run has not ended.
	held bool
}

func (r *run) add(failed bool) {
	if r.held {
		r.failures = 0
	}
	if r.held = !failed; failed {
		r.failures++
	}
}

func (r *run) amend() {
	r.held = false
	r.failures++
}
