package breaker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Limiter carries out a Limit. It is safe for concurrent use.
type Limiter struct {
	limit Limit
	// word is the calls in flight in the lower half and those waiting in the
	// upper. While nobody waits anyone may change it; while somebody does,
	// only who holds mu. So nobody overtakes the queue.
	word atomic.Uint64

	peak, refused, waited, wouldRefuse, wouldRefuseSucceeded atomic.Uint64

	mu sync.Mutex
	// first and last are the ends of the queue, which is as long as word says
	// whenever mu is free.
	first, last *waiter
}

// waiter is a call that waits for a place.
type waiter struct {
	prev, next *waiter
	queued     bool
	// ready is closed when the call has been given a place.
	ready chan struct{}
}

const oneWaiting = 1 << 32

func inFlight(word uint64) uint64 { return word & (oneWaiting - 1) }
func waiting(word uint64) uint64  { return word >> 32 }

// NewLimiter returns a Limiter, or every fault of the limit.
func NewLimiter(l Limit) (*Limiter, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	return &Limiter{limit: l.Effective()}, nil
}

// Slot is the place of one call. It is a value; the zero Slot does nothing.
type Slot struct {
	limiter *Limiter
	// excess marks a call that only Observe let through, waited one that had
	// to wait.
	excess, waited bool
}

// Release gives the place back. It must be called once; once too often is
// beyond what a value can notice, and lets too many calls through, or panics
// if nothing is in flight.
func (s Slot) Release() {
	if s.limiter != nil {
		s.limiter.release()
	}
}

// Waited reports whether the call had to wait for its place, so that what it
// knew of the time is old.
func (s Slot) Waited() bool { return s.waited }

// Succeeded says that the call succeeded. It counts under Observe only.
func (s Slot) Succeeded() {
	if s.excess {
		s.limiter.wouldRefuseSucceeded.Add(1)
	}
}

// Acquire takes a place, waiting for one if the limit allows that. The error
// is a *LimitError, or the cause of ctx if that ends first. While there is a
// place and nobody waits it takes no lock, does not allocate and does not look
// at ctx.
func (l *Limiter) Acquire(ctx context.Context) (Slot, error) {
	if l.limit.Mode == outcome.Observe {
		return l.observe(), nil
	}
	if l.enter() {
		return Slot{limiter: l}, nil
	}
	w, err := l.join()
	if err != nil {
		return Slot{}, err
	}
	if w != nil {
		if err := l.wait(ctx, w); err != nil {
			return Slot{}, err
		}
	}
	return Slot{limiter: l, waited: w != nil}, nil
}

// TryAcquire takes a place as Acquire does, and never waits: where there is
// none it is refused.
func (l *Limiter) TryAcquire() (Slot, error) {
	if l.limit.Mode == outcome.Observe {
		return l.observe(), nil
	}
	if l.enter() {
		return Slot{limiter: l}, nil
	}
	word := l.word.Load()
	l.refused.Add(1)
	return Slot{}, &LimitError{InFlight: int(inFlight(word)), Waiting: int(waiting(word))}
}

// enter takes a place if there is one and nobody waits.
func (l *Limiter) enter() bool {
	for {
		word := l.word.Load()
		if waiting(word) > 0 || inFlight(word) >= uint64(l.limit.InFlight) {
			return false
		}
		if l.word.CompareAndSwap(word, word+1) {
			l.reach(inFlight(word) + 1)
			return true
		}
	}
}

// reach notes how many calls there are.
func (l *Limiter) reach(n uint64) {
	for peak := l.peak.Load(); n > peak; peak = l.peak.Load() {
		if l.peak.CompareAndSwap(peak, n) {
			return
		}
	}
}

// join takes a place after all, and then the waiter is nil, or one in the
// queue.
func (l *Limiter) join() (*waiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.enter() {
			return nil, nil
		}
		word := l.word.Load()
		if waiting(word) == 0 && inFlight(word) < uint64(l.limit.InFlight) {
			continue // a place has become free just now
		}
		if waiting(word) >= uint64(l.limit.Waiting) {
			l.refused.Add(1)
			return nil, &LimitError{InFlight: int(inFlight(word)), Waiting: int(waiting(word))}
		}
		if l.word.CompareAndSwap(word, word+oneWaiting) {
			break
		}
	}
	l.waited.Add(1)
	w := &waiter{prev: l.last, queued: true, ready: make(chan struct{})}
	if l.last != nil {
		l.last.next = w
	} else {
		l.first = w
	}
	l.last = w
	return w, nil
}

func (l *Limiter) wait(ctx context.Context, w *waiter) error {
	var late <-chan time.Time
	if l.limit.MaxWait > 0 {
		timer := time.NewTimer(l.limit.MaxWait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		if !l.leave(w) {
			// The place came at the same moment, and nobody wants it.
			l.release()
		}
		return context.Cause(ctx)
	case <-late:
		if !l.leave(w) {
			return nil
		}
		l.refused.Add(1)
		word := l.word.Load()
		return &LimitError{InFlight: int(inFlight(word)), Waiting: int(waiting(word)), Waited: l.limit.MaxWait}
	}
}

// leave takes w out of the queue and reports whether it was in it.
func (l *Limiter) leave(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !w.queued {
		return false
	}
	l.remove(w)
	l.sub(oneWaiting)
	return true
}

func (l *Limiter) remove(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.last = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
}

func (l *Limiter) sub(n uint64) { l.word.Add(-n) }

// release gives a place to the first in the queue, or back.
func (l *Limiter) release() {
	for {
		word := l.word.Load()
		if waiting(word) > 0 {
			break
		}
		if inFlight(word) == 0 {
			panic("breaker: a slot was released twice")
		}
		if l.word.CompareAndSwap(word, word-1) {
			return
		}
	}
	l.mu.Lock()
	w := l.first
	if w == nil {
		l.mu.Unlock()
		l.release() // the last one has left the queue
		return
	}
	l.remove(w)
	l.sub(oneWaiting)
	l.mu.Unlock()
	close(w.ready)
}

// observe lets a call through and counts it if it would have been refused.
// Those that would have waited are in flight at once.
func (l *Limiter) observe() Slot {
	n := inFlight(l.word.Add(1))
	l.reach(n)
	switch over := int64(n) - int64(l.limit.InFlight); {
	case over > int64(l.limit.Waiting):
		l.wouldRefuse.Add(1)
		return Slot{limiter: l, excess: true}
	case over > 0:
		l.waited.Add(1)
	}
	return Slot{limiter: l}
}

// LimitStats are the counts of a Limiter.
type LimitStats struct {
	// InFlight and Waiting are how many calls there are, Peak is the most
	// there have been in flight.
	InFlight int `json:"inFlight"`
	Waiting  int `json:"waiting"`
	Peak     int `json:"peak"`
	// Waited counts the calls that had to wait, under Observe those that
	// would have had to.
	Waited uint64 `json:"waited,omitempty"`
	// Refused counts the calls refused, at once or after MaxWait; under
	// Observe WouldRefuse those that would have been at once, and
	// WouldRefuseSucceeded those of them that succeeded.
	Refused              uint64 `json:"refused"`
	WouldRefuse          uint64 `json:"wouldRefuse,omitempty"`
	WouldRefuseSucceeded uint64 `json:"wouldRefuseSucceeded,omitempty"`
}

// Stats returns the counts.
func (l *Limiter) Stats() LimitStats {
	word := l.word.Load()
	return LimitStats{
		InFlight: int(inFlight(word)), Waiting: int(waiting(word)), Peak: int(l.peak.Load()),
		Waited: l.waited.Load(), Refused: l.refused.Load(),
		WouldRefuse: l.wouldRefuse.Load(), WouldRefuseSucceeded: l.wouldRefuseSucceeded.Load(),
	}
}
