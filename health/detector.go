package health

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

const (
	// sweepEvery is the least time between two sweeps, sweepPerMember what
	// it grows to with their number, so that sweeps stay a small part of the
	// work however many endpoints there are.
	sweepEvery     = time.Second
	sweepPerMember = time.Millisecond
	// memory is the time after which a call weighs 1/e in what peers usually
	// do.
	memory = time.Minute
)

// Detector compares the endpoints of one service with one another. It has no
// goroutine and no timer: about once a second one of the calls of
// Record.Observe draws up the sums of all. It is safe for concurrent use.
type Detector struct {
	policy Outliers
	limits [numRuns]int64
	draw   func() uint64
	// due is when the next sweep is, in nanoseconds since base.
	due atomic.Int64
	_   [64]byte

	// mu guards what follows. Observe only ever tries it.
	mu      sync.Mutex
	base    time.Time
	started bool
	members []*Record
	swept   int64
	// total counts the calls of all since the beginning.
	total tally
}

// NewDetector returns a Detector for a valid policy. draw is the source of
// chance, called by many goroutines at once; nil is the generator of the Go
// runtime.
func NewDetector(o Outliers, draw func() uint64) *Detector {
	if draw == nil {
		draw = rand.Uint64
	}
	o = o.Effective()
	d := &Detector{policy: o, draw: draw}
	d.limits[byLocalOrigin] = int64(o.ConsecutiveLocalOriginFailure)
	d.limits[byGateway] = int64(o.ConsecutiveGatewayFailure)
	d.limits[by5xx] = int64(o.Consecutive5xx)
	d.due.Store(math.MaxInt64)
	return d
}

// Join makes the endpoint a member, known since now, and returns its record.
func (d *Detector) Join(e *endpoint.Endpoint, now time.Time) *Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.started {
		d.base, d.started = now, true
		if d.policy.SuccessRateMinimumHosts > 0 {
			d.due.Store(int64(sweepEvery))
		}
	}
	r := &Record{d: d, ep: e, base: d.base, index: len(d.members)}
	r.phase.Store(newPhase(facts{epoch: never, since: r.nanos(now), until: never, acquittal: never}))
	d.members = append(d.members, r)
	return r
}

// Leave takes the endpoint out of the comparison. Its record stays usable for
// the calls still in flight. A second Leave does nothing.
func (d *Detector) Leave(r *Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.index < 0 || r.d != d {
		return
	}
	last := len(d.members) - 1
	d.members[r.index] = d.members[last]
	d.members[r.index].index = r.index
	d.members[last] = nil
	d.members = d.members[:last]
	r.index = -1
}

// tick sweeps if that is due. Who finds another at it goes on.
func (d *Detector) tick(at int64) {
	if at < d.due.Load() || !d.mu.TryLock() {
		return
	}
	defer d.mu.Unlock()
	if at < d.due.Load() {
		return
	}
	d.sweep(at)
	d.due.Store(at + int64(max(sweepEvery, time.Duration(len(d.members))*sweepPerMember)))
}

// sweep takes in what the members counted since the last one, then holds each
// against the rest.
func (d *Detector) sweep(at int64) {
	keep := math.Exp(-float64(at-d.swept) / float64(memory))
	d.swept = at
	before := d.total
	var usual tally
	active := 0
	for _, r := range d.members {
		// Only in service a phase counts anything.
		p := r.phase.Load()
		s := &p.series
		s.take(tally{float64(p.ok.Load()), float64(p.failed.Load())}, keep)
		d.total.add(s.step)
		usual.add(s.usual)
		if s.usual.calls() >= 1 {
			active++
		}
	}
	for _, r := range d.members {
		p := r.phase.Load()
		if p.series.step == (tally{}) {
			continue
		}
		s := &p.series
		s.begin(before)
		own := s.counted.less(s.onset)
		theirs := d.total.less(s.onsetAll).less(own)
		own.ok, theirs.ok = max(0, own.ok), max(0, theirs.ok) // earlier successes may have been taken back
		if !s.watch(usual.less(s.usual), theirs) {
			continue
		}
		if active < d.policy.SuccessRateMinimumHosts || min(own.calls(), theirs.calls()) < float64(d.policy.SuccessRateRequestVolume) {
			continue
		}
		switch compare(own, theirs) {
		case guilty:
			// Trouble that all have begins for one of them first.
			if lately := d.total.less(before).less(s.step); lately.calls() == 0 || lately.rate() <= peersFail {
				p.found.Store(&proof{own, theirs})
			}
		case innocent:
			s.score = 0
		}
	}
}
