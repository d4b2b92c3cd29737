package balancer

import (
	"math"
	"sync/atomic"
)

// fraction is the part of the attempts that failed: a moving average that
// falls with time as well. Its word has the average as a float32 in the upper
// half and the tick of the last attempt in the lower.
type fraction struct{ word atomic.Uint64 }

const (
	// faultStep is the weight of one attempt in the part of its endpoint,
	// allFaultsStep in that of all: enough of them to know what is usual.
	faultStep     = 1.0 / 8
	allFaultsStep = 1.0 / 64
	// leastFaults is what counts as nothing.
	leastFaults = 1.0 / 512
	// An endpoint may fail usualFaults times as often as all do, up to
	// mostFaults, before that is held against it: by chance some do.
	usualFaults = 3
	mostFaults  = 0.5
)

// at returns the fraction at the given time.
func (f *fraction) at(now int64, decay float64) float64 {
	w := f.word.Load()
	if w == 0 {
		return 0
	}
	v := float64(math.Float32frombits(uint32(w>>32))) * exp(-float64(age(tick(now), uint32(w)))*(1<<tickBits)/decay)
	if v < leastFaults {
		return 0
	}
	return v
}

// add takes an attempt, of the given weight, into the average.
func (f *fraction) add(failed bool, now int64, decay, step float64) {
	old := f.word.Load()
	if old == 0 && !failed {
		return
	}
	v := f.at(now, decay)
	if failed {
		v += (1 - v) * step
	} else {
		v -= v * step
	}
	var word uint64
	if v >= leastFaults {
		word = uint64(math.Float32bits(float32(v)))<<32 | uint64(tick(now))
	}
	f.word.CompareAndSwap(old, word)
}

// blame returns what a call costs more at an endpoint for its failures, in ns.
// What counts is by how much it fails more often than all do, and the square
// of that, so that a failure now and then, wherever it comes from, does not
// outweigh the load.
func (b *loadFed) blame(f *fed, at int64) float64 {
	own := f.faults.at(at, b.decay)
	if own == 0 {
		return 0
	}
	x := max(0, own-min(usualFaults*b.faults.at(at, b.decay), mostFaults))
	return x * x * b.penalty
}
