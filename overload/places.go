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

// The limit moves by one or two after each window of at least 50 requests, so a
// window is half a second and not the second of failsafe-go: it takes a minute
// to get from 20 to 200. What is usual is remembered for a minute, not for ten
// windows: where as much is offered as the server can do, times swell so slowly
// that a short memory takes every one of them for the usual, and the limit
// climbs until all come too late.
const (
	leastWindow = 500 * time.Millisecond
	baseline    = 120
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
		WithBaselineWindow(baseline).
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
