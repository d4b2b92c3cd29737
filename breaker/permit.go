package breaker

import (
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Permit is the leave to make one call, and the way its result comes back. It
// is a value; the zero Permit does nothing. A Permit belongs to the state that
// it was given out in: when the breaker has left that, its result is ignored.
type Permit struct {
	breaker *Breaker
	stamp   uint64
	// trial is the number of a trial, 0 for other calls.
	trial uint64
	// refused marks a call that only Observe let through.
	refused bool
}

// Trial reports whether the call is a trial of a half-open breaker.
func (p Permit) Trial() bool { return p.trial != 0 }

// Done says what became of the call: once at the headers, and once more with
// a Late result if the end of the body turned a call that had not failed into
// one that has; a Permit remembers nothing, so what the call Was must be said,
// and a failure must not be told twice. Neutral and Overload are as Release. It does not allocate unless the
// state changes.
func (p Permit) Done(r outcome.Result) {
	b := p.breaker
	if b == nil {
		return
	}
	judged := r.Class == outcome.Success || r.Class.Failed()
	switch {
	case p.refused:
		b.wouldHave(r)
	case r.Late && !r.Class.Failed():
	case !judged:
		p.Release()
	default:
		if r.At.IsZero() {
			r.At = time.Now()
		}
		if b.judge(p, r) {
			b.tell()
		}
	}
}

// Release says that there is no result: a trial gives its place back. It does
// nothing after Done, so it can be deferred.
func (p Permit) Release() {
	if p.trial == 0 {
		return
	}
	b := p.breaker
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.stamp == b.word.Load() && b.trial.settle(p.trial) {
		b.count()
	}
}

// wouldHave counts what became of a call that would have been refused.
func (b *Breaker) wouldHave(r outcome.Result) {
	switch {
	case !r.Late && r.Class == outcome.Success:
		b.wouldRefuseSucceeded.Add(1)
	case r.Late && r.Was == outcome.Success && r.Class.Failed():
		for n := b.wouldRefuseSucceeded.Load(); n > 0; n = b.wouldRefuseSucceeded.Load() {
			if b.wouldRefuseSucceeded.CompareAndSwap(n, n-1) {
				return
			}
		}
	}
}
