package ratelimit

import (
	"sync/atomic"
	"time"
)

// counter counts in parts, so that processors do not fight over one. It takes
// whole cache lines, so that what lies beside it in memory is not fought over
// either.
type counter struct {
	_     [64]byte
	parts [counterParts]struct {
		atomic.Uint64
		_ [56]byte
	}
}

const (
	counterBits  = 3
	counterParts = 1 << counterBits
	// spread, 2^64 by the golden ratio, makes of readings of a clock, however
	// coarse, parts that have nothing in common (Knuth, The Art of Computer
	// Programming, volume 3, section 6.4).
	spread = 0x9E3779B97F4A7C15
)

// add counts one. The time says in which part: it is at hand, and processors
// that are here at the same moment have read it one after the other.
func (c *counter) add(since time.Duration) {
	c.parts[uint64(since)*spread>>(64-counterBits)].Add(1)
}

func (c *counter) load() (n uint64) {
	for i := range c.parts {
		n += c.parts[i].Load()
	}
	return n
}
