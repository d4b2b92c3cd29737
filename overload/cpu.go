package overload

import (
	"math"
	"runtime"
	"time"
)

// quotaAge is how long a quota is believed: it can be changed while the
// process runs.
const quotaAge = time.Minute

// processCPU returns a function that tells which part of what it may use of
// the processors this process has used since it was last called: of its quota,
// or of GOMAXPROCS if that is less.
func processCPU() func() float64 {
	before, known := cpuTime()
	at := time.Now()
	quota, read := cpuQuota(), at
	return func() float64 {
		now := time.Now()
		used, ok := cpuTime()
		passed := now.Sub(at)
		if !ok || !known || passed <= 0 {
			return math.NaN()
		}
		if now.Sub(read) > quotaAge {
			quota, read = cpuQuota(), now
		}
		processors := float64(runtime.GOMAXPROCS(0))
		if quota > 0 {
			processors = min(processors, quota)
		}
		part := float64(used-before) / float64(passed) / processors
		before, at = used, now
		return part
	}
}
