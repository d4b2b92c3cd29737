package overload

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
)

// place is a permit to work on a request; the zero place is of a fixed limit.
type place struct{ permit adaptivelimiter.Permit }

// places are what there is to take.
type places struct {
	limit atomic.Int64
	// taken counts them while the limit is fixed.
	taken    atomic.Int64
	adaptive adaptivelimiter.AdaptiveLimiter[any] // nil if the limit is fixed
}

// headroom is how far above the use the limit may rise: the default of
// failsafe-go.
const headroom = 5

// A window is half a second of at least 50 requests, for the limit moves by
// one or two at each: with the second that failsafe-go waits it would take a
// minute to find its place after a change.
const (
	leastWindow = 500 * time.Millisecond
	mostWindow  = 30 * time.Second
	samples     = 50
)

func (s *places) init(p Policy) {
	if p.MaxInFlight > 0 {
		s.limit.Store(int64(p.MaxInFlight))
		return
	}
	a := p.Adaptive
	s.limit.Store(int64(a.Initial))
	// OnLimitChanged is left alone: it is called in the midst of an update with
	// the limiter unlocked, and another update may come between.
	s.adaptive = adaptivelimiter.NewBuilder[any]().
		WithLimits(uint(a.Min), uint(a.Max), uint(a.Initial)).
		WithMaxLimitFunc(func(used int) float64 { return math.Max(float64(a.Initial), headroom*float64(used)) }).
		WithRecentWindow(leastWindow, mostWindow, samples).
		Build()
}

// take takes a place if there is one.
func (s *places) take() (place, bool) {
	if s.adaptive != nil {
		p, ok := s.adaptive.TryAcquirePermit()
		return place{p}, ok
	}
	for {
		n := s.taken.Load()
		if n >= s.limit.Load() {
			return place{}, false
		}
		if s.taken.CompareAndSwap(n, n+1) {
			return place{}, true
		}
	}
}

// give gives a place back. timed says that the time since take is one that a
// request takes.
func (s *places) give(p place, timed bool) {
	switch {
	case s.adaptive == nil:
		s.taken.Add(-1)
		return
	case timed:
		p.permit.Record()
	default:
		p.permit.Drop()
	}
	s.limit.Store(int64(s.adaptive.Limit()))
}
