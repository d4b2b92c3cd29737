package breaker

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// Options are what a Breaker is told about its surroundings.
type Options struct {
	// Service and Endpoint say in errors and events whose breaker it is. A
	// breaker of a whole service has no endpoint.
	Service, Endpoint string
	// Draw is the source of chance, asked by New for a seed; nil is the
	// generator of the Go runtime.
	Draw func() uint64
	// OnEvent is called when an incident begins and when it ends, one event
	// after the other, with no lock held, on the goroutine of the call that
	// caused it or of one that is being told about another event. It must not
	// block: that goroutine has a caller. It may use the breaker.
	OnEvent func(Event)
}

// Breaker is a circuit breaker. It is safe for concurrent use.
type Breaker struct {
	policy  Policy
	options Options
	// epoch is the zero of the offsets that times are kept as.
	epoch time.Time

	// word is what Allow has to read while all is well: the State in the two
	// lowest bits, above it a generation that grows with every transition.
	// It is the stamp of permits.
	word atomic.Uint64
	// openUntil is the offset at which an open breaker lets trials through,
	// recallAt that at which a half-open one takes back the places of those
	// that are unanswered.
	openUntil, recallAt atomic.Int64
	// places is how many trials a half-open breaker can give out.
	places atomic.Int64

	refused, wouldRefuse, wouldRefuseSucceeded atomic.Uint64

	mu    sync.Mutex
	calls window
	slow  *window // nil without SlowCall
	run   run
	last  samples
	trial trials
	// since is when the state began, added when a call was last counted.
	since, added time.Duration
	chance       rand.PCG
	// incident is the one under way, or the last.
	incident incident
	opened   uint64
	events   events
}

// New returns a closed Breaker, or every fault of the policy.
func New(p Policy, o Options) (*Breaker, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if o.Draw == nil {
		o.Draw = rand.Uint64
	}
	p = p.Effective()
	b := &Breaker{policy: p, options: o, epoch: time.Now()}
	b.calls = window{core: newCore(p), span: p.Window}
	if p.SlowCall > 0 {
		b.slow = &window{core: newCore(p), span: p.Window}
	}
	b.chance.Seed(o.Draw(), o.Draw())
	return b, nil
}

// draw returns a length for an open time.
func (b *Breaker) draw() time.Duration {
	chance := float64(b.chance.Uint64()>>11) / (1 << 53)
	return b.policy.OpenFor + time.Duration(chance*openJitter*float64(b.policy.OpenFor))
}

func (b *Breaker) offset(t time.Time) time.Duration { return t.Sub(b.epoch) }

func stateOf(word uint64) State { return State(word & 3) }

// Allow asks for a call that begins now, which must be a time of time.Now.
// The error is an *OpenError, never under Observe. The Permit must come to
// Done or Release, or both. While the breaker is closed, Allow takes no lock;
// it does not allocate but for the error.
func (b *Breaker) Allow(now time.Time) (Permit, error) {
	word := b.word.Load()
	if stateOf(word) == Closed {
		return Permit{breaker: b, stamp: word}, nil
	}
	if b.Due(now) {
		if p, ok := b.take(b.offset(now)); ok {
			return p, nil
		}
	}
	if b.policy.Mode == outcome.Observe {
		b.wouldRefuse.Add(1)
		return Permit{breaker: b, refused: true}, nil
	}
	b.refused.Add(1)
	err := &OpenError{Service: b.options.Service, Endpoint: b.options.Endpoint}
	if err.RetryAfter = b.RetryAfter(now); err.RetryAfter > 0 {
		err.Until = now.Add(err.RetryAfter)
	}
	return Permit{}, err
}

// State returns the state. A breaker whose open time is over stays Open until
// Allow gives out its first trial.
func (b *Breaker) State() State { return stateOf(b.word.Load()) }

// RetryAfter returns what remains of the open time, 0 if it is over or the
// breaker is not open.
func (b *Breaker) RetryAfter(now time.Time) time.Duration {
	if b.State() != Open {
		return 0
	}
	return max(0, time.Duration(b.openUntil.Load())-b.offset(now))
}

// Due reports whether Allow has a trial to give: the open time is over, or
// the breaker is half-open and has a place left. It takes no lock; another
// caller may be faster.
func (b *Breaker) Due(now time.Time) bool {
	switch b.State() {
	case Open:
		return b.offset(now) >= time.Duration(b.openUntil.Load())
	case HalfOpen:
		return b.places.Load() > 0 || b.offset(now) >= time.Duration(b.recallAt.Load())
	default:
		return false
	}
}

// take gives out a trial, if there is one. Between the caller's look and the
// lock the breaker may have closed.
func (b *Breaker) take(at time.Duration) (Permit, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.State() {
	case Closed:
		return Permit{breaker: b, stamp: b.word.Load()}, true
	case Open:
		if at < time.Duration(b.openUntil.Load()) {
			return Permit{}, false
		}
		b.halfOpen(at)
	case HalfOpen:
		if at >= time.Duration(b.recallAt.Load()) {
			b.trial.recall(b.policy.HalfOpenCalls)
			b.recallAt.Store(int64(at + b.policy.HalfOpenFor))
			b.count()
		}
	}
	if b.places.Load() <= 0 {
		return Permit{}, false
	}
	p := Permit{breaker: b, stamp: b.word.Load(), trial: b.trial.take()}
	b.count()
	return p, true
}

// count works out the places that are left for trials.
func (b *Breaker) count() {
	b.places.Store(int64(b.policy.HalfOpenCalls) - int64(b.calls.Metrics().Successes()) - int64(len(b.trial.out)))
}

// Reset closes the breaker and forgets what it has counted; results of calls
// under way do not count any more. An incident under way ends with it, and
// has its event.
func (b *Breaker) Reset() {
	b.mu.Lock()
	at := b.offset(time.Now())
	if b.State() == Closed {
		b.closed(at)
	} else {
		b.end(at, "reset")
	}
	b.last = samples{}
	b.mu.Unlock()
	b.tell()
}
