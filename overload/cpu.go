package overload

import (
	"math"
	"runtime"
	"time"
)

// quotaAge is how long a quota is believed: it can be changed while the
// process runs.
const quotaAge = time.Minute

// processors knows how many of them this process may use. It is for one
// goroutine at a time.
type processors struct {
	quota float64
	read  time.Time
}

// count returns the quota, or GOMAXPROCS if that is less.
func (p *processors) count(now time.Time) float64 {
	if p.read.IsZero() || now.Sub(p.read) > quotaAge {
		p.quota, p.read = cpuQuota(), now
	}
	n := float64(runtime.GOMAXPROCS(0))
	if p.quota > 0 {
		n = min(n, p.quota)
	}
	return n
}

// processCPU returns a function that tells which part of the processors this
// process has used since it was last called.
func processCPU(p *processors) func() float64 {
	before, known := cpuTime()
	at := time.Now()
	return func() float64 {
		now := time.Now()
		used, ok := cpuTime()
		passed := now.Sub(at)
		if !ok || !known || passed <= 0 {
			return math.NaN()
		}
		part := float64(used-before) / float64(passed) / p.count(now)
		before, at = used, now
		return part
	}
}
