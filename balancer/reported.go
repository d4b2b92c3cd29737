package balancer

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// reported is the weight of one endpoint by its reports. Reports that come at
// the same moment may each leave a part of themselves, which are of one age.
type reported struct {
	// returned is when the endpoint had become available.
	returned time.Time
	// weight is the bits of a float64, 0 if there was no report.
	weight atomic.Uint64
	// first and last are when the first and the last report came of a row
	// without a break, in ns.
	first, last atomic.Int64
}

// maxReportedWeight is beyond what any server does in a second.
const maxReportedWeight = 1e15

// weightOf returns the weight by a report, 0 if it says nothing of it.
func weightOf(r *endpoint.LoadReport, penalty float64) float64 {
	utilization := r.Application
	if !(utilization > 0) {
		utilization = r.CPU
	}
	if !(r.RPS > 0 && utilization > 0) {
		return 0
	}
	if r.EPS > 0 {
		utilization += r.EPS / r.RPS * penalty
	}
	if w := r.RPS / utilization; w > 0 && w <= maxReportedWeight {
		return w
	}
	return 0
}

// add takes over the weight of a report that came at now.
func (e *reported) add(weight float64, now, expiry int64) {
	if weight == 0 {
		return
	}
	known, last := e.weight.Load() != 0, e.last.Load()
	if known && now < last {
		return
	}
	if !known || now-last >= expiry {
		e.first.Store(now)
	}
	e.last.Store(now)
	e.weight.Store(math.Float64bits(weight))
}

// at returns the weight as it counts at now, 0 if there is none.
func (e *reported) at(now, blackout, expiry int64) float64 {
	weight := e.weight.Load()
	if weight == 0 || now-e.last.Load() >= expiry || blackout > 0 && now-e.first.Load() < blackout {
		return 0
	}
	return math.Float64frombits(weight)
}
