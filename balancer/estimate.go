package balancer

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
)

// estimate is what is known of one endpoint's latency: a moving average that
// rises to a higher sample at once and falls by e in each decay. Writers try
// once; a sample that meets another is lost.
type estimate struct {
	// level is ln(average in ns) + time of the last sample/decay, as the bits
	// of a float64, 0 if there was no sample. So written the average falls
	// with time by itself, and one word holds all that picks need.
	level atomic.Uint64
	// at is the time of the last sample, in ns like all times here.
	at atomic.Int64
	// waits is when the oldest attempt began of those that nothing has
	// answered since, and 0 if there is none. It is odd otherwise.
	waits atomic.Int64
	_     [cacheLine - 24]byte // written with each result, so alone in its line
}

const cacheLine = 64

// minLatency is what any latency counts as at least.
const minLatency = time.Microsecond

// mark writes down that an attempt begins at now.
func (e *estimate) mark(now int64) {
	if e.waits.Load() == 0 {
		e.waits.CompareAndSwap(0, now|1)
	}
}

// settle takes back the mark of an attempt that began at start and has come
// to its end. Whoever answers has answered for all that began before: what
// takes long then is the call, not the endpoint.
func (e *estimate) settle(start int64, answered bool) {
	if w := e.waits.Load(); w != 0 && (w == start|1 || answered && start > w) {
		e.waits.CompareAndSwap(w, 0)
	}
}

// waited returns for how long the endpoint has answered nothing at now, 0 if
// it was asked nothing or after so long a time that its silence says no more.
func (e *estimate) waited(now int64, decay float64) float64 {
	w := e.waits.Load()
	if w == 0 {
		return 0
	}
	age := float64(now - w)
	if age < 0 || age > silence*decay {
		return 0
	}
	return age
}

// average returns the average at the given time, 0 if there is none.
func (e *estimate) average(at int64, decay float64) float64 {
	level := e.level.Load()
	if level == 0 {
		return 0
	}
	return exp(math.Float64frombits(level) - float64(at)/decay)
}

// last returns the average at the time of the last sample, 0 if there is none.
func (e *estimate) last(decay float64) float64 { return e.average(e.at.Load(), decay) }

// add takes over a sample made at the given time. A bound says that the
// latency was at least so much, which can only raise the average.
func (e *estimate) add(sample float64, at int64, decay float64, bound bool) {
	sample = max(sample, float64(minLatency))
	old := e.level.Load()
	now := float64(at) / decay
	if old != 0 {
		if average := math.Exp(min(math.Float64frombits(old)-now, expMax)); sample <= average {
			since := float64(at - e.at.Load())
			if bound || since <= 0 {
				return
			}
			// average·e^(-since/decay) is taken away by time alone.
			sample = average - sample*math.Expm1(-since/decay)
		}
	}
	level := math.Float64bits(math.Log(sample) + now)
	if level == 0 {
		level = 1
	}
	if e.level.CompareAndSwap(old, level) && at > e.at.Load() {
		e.at.Store(at)
	}
}

// observe takes over a result. penalty is what a failure counts as at least.
func (e *estimate) observe(r outcome.Result, at int64, decay, penalty float64) {
	if r.Late && r.Was == r.Class {
		return // another load report, and nothing else
	}
	bad := r.Class.Failed() || r.Class == outcome.Overload
	e.settle(at-int64(r.Latency), !r.Cut)
	switch {
	case r.Class == outcome.Neutral:
	case bad:
		e.add(max(float64(r.Latency), penalty), at, decay, true)
	case !r.Late: // what comes late holds the length of the body
		e.add(float64(r.Latency), at, decay, r.Cut)
	}
}
