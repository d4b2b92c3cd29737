// Package histogram counts durations in bins of constant relative width,
// without locks, so that quantiles of recent calls can be asked for.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// subBits gives each power of two 1<<subBits bins: a relative width of
	// at most 1/8.
	subBits = 3
	// minShift drops what is below 2^10 ns, about a microsecond.
	minShift = 10
	// bins reach to 2^37 ns, about 137 s; what is longer falls in the last.
	bins = (37 - minShift) << subBits
	// Span is how long a window collects; quantiles speak of the present
	// window and the one before.
	Span = 30 * time.Second
)

// Histogram holds durations of the last one to two Spans. All methods may be
// called at once; a value recorded while windows change may be counted in
// either or be lost, never twice.
type Histogram struct {
	// start is what time is measured from, so that only its monotonic part
	// matters.
	start time.Time
	// turn is the number of the present window, counted in Spans.
	turn    atomic.Int64
	windows [2]window
}

type window struct {
	count atomic.Uint64
	bins  [bins]atomic.Uint32
}

// New returns an empty Histogram.
func New(now time.Time) *Histogram { return &Histogram{start: now} }

// Record counts d, which was measured at now.
func (h *Histogram) Record(d time.Duration, now time.Time) {
	w := &h.windows[h.advance(now)&1]
	w.bins[bin(d)].Add(1)
	w.count.Add(1)
}

// Count returns how many values the windows hold at now.
func (h *Histogram) Count(now time.Time) uint64 {
	h.advance(now)
	return h.windows[0].count.Load() + h.windows[1].count.Load()
}

// Quantile returns the upper edge of the bin that holds quantile q of the
// values, 0 if there are none.
func (h *Histogram) Quantile(q float64, now time.Time) time.Duration {
	total := h.Count(now)
	if total == 0 {
		return 0
	}
	want, seen := uint64(q*float64(total)), uint64(0)
	for i := range bins {
		seen += uint64(h.windows[0].bins[i].Load()) + uint64(h.windows[1].bins[i].Load())
		if seen > want {
			return edge(i)
		}
	}
	return edge(bins - 1)
}

// advance moves to the window of now and returns its number. The one who
// wins the move clears what it moves into.
func (h *Histogram) advance(now time.Time) int64 {
	turn, was := int64(now.Sub(h.start)/Span), h.turn.Load()
	if turn <= was || !h.turn.CompareAndSwap(was, turn) {
		return max(turn, was)
	}
	h.windows[turn&1].clear()
	if turn-was > 1 {
		h.windows[(turn-1)&1].clear()
	}
	return turn
}

func (w *window) clear() {
	w.count.Store(0)
	for i := range w.bins {
		w.bins[i].Store(0)
	}
}

// bin returns the bin of d: the position of its highest bit and the subBits
// bits below it.
func bin(d time.Duration) int {
	v := uint64(max(d, 0)) >> (minShift - subBits)
	if v < 1<<subBits {
		return 0
	}
	shift := bits.Len64(v) - 1 - subBits
	return min(shift<<subBits+int(v>>shift)-1<<subBits, bins-1)
}

// edge returns the least duration above those of bin i.
func edge(i int) time.Duration {
	shift, sub := i>>subBits, i&(1<<subBits-1)+1
	return time.Duration(uint64(1<<subBits+sub) << (minShift - subBits) << shift)
}
