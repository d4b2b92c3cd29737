package balancer

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// bound is "consistent hashing with bounded loads" (Mirrokni, Thorup and
// Zadimoghaddam, 2018): no endpoint has more calls in flight than its part of
// all of them, the new one included, times a factor, rounded up. The calls
// are those of this process.
type bound struct {
	factor  float64 // 0 means that there is no bound
	members []member
	weight  float64 // of all members
	// total is how many calls were in flight at the time counted.
	total, counted atomic.Int64
}

const (
	// Counting all endpoints in each pick would make it as long as there are
	// endpoints. So it is done by chance, such that a pick looks at exact
	// endpoints in the mean: the total is then about n/exact picks old, which
	// change the mean in flight at each of n by 1/exact of a call. With up to
	// exact endpoints each pick counts.
	exact = 16
	// A count is no older than this, whatever chance says.
	maxCountAge = 10 * time.Millisecond
)

func validateBound(factor float64) error {
	if factor == 0 || factor >= 1 && !math.IsInf(factor, 1) {
		return nil
	}
	return fmt.Errorf("bound: %v is neither 0 nor a number of at least 1", factor)
}

// set makes the bound one for ms. A factor that is none means no bound.
func (b *bound) set(factor float64, ms []member) {
	if validateBound(factor) == nil {
		b.factor = factor
	}
	b.members = ms
	for i := range ms {
		b.weight += float64(ms[i].weight)
	}
}

// level returns how many calls may be in flight for each weight.
func (b *bound) level(q *Query) float64 {
	return b.factor * float64(b.inFlight(q)+1) / b.weight
}

func (b *bound) inFlight(q *Query) int64 {
	n := uint64(len(b.members))
	var now int64
	if n > exact && !q.Now.IsZero() {
		now = q.Now.UnixNano()
		r := random{q.Draw}
		if age := now - b.counted.Load(); age >= 0 && age < int64(maxCountAge) && r.below(n) >= exact {
			return b.total.Load()
		}
	}
	var total int64
	for i := range b.members {
		total += b.members[i].ep.InFlight()
	}
	if now != 0 {
		b.total.Store(total)
		b.counted.Store(now)
	}
	return total
}

// filter says which members a pick may take.
type filter struct {
	q     *Query
	bound *bound // nil if it may take full ones
	level float64
	avoid bool
}

// filter returns the strictest one for q.
func (b *bound) filter(q *Query) filter {
	f := filter{q: q, avoid: len(q.Avoid) > 0}
	if len(q.Avoid) >= len(b.members) {
		f.avoid = slices.ContainsFunc(b.members, func(m member) bool { return !q.Avoids(m.ep) })
	}
	if b.factor > 0 {
		f.bound = b
	}
	return f
}

// relax gives up the bound, then what is to be avoided: after that anything
// may be taken.
func (f *filter) relax() {
	if f.bound == nil {
		f.avoid = false
	}
	f.bound = nil
}

func (f *filter) takes(m *member) bool {
	return !(f.avoid && f.q.Avoids(m.ep)) && !(f.bound != nil && f.full(m))
}

func (f *filter) full(m *member) bool {
	n := m.ep.InFlight()
	if n <= 0 {
		return false // rounded up, any part is one call at least
	}
	if f.level == 0 {
		f.level = f.bound.level(f.q)
	}
	return float64(n+1) > math.Ceil(f.level*float64(m.weight))
}
