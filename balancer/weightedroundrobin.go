package balancer

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// WeightedRoundRobin gives each endpoint turns in proportion to what its
// server could do by its own reports: the weighted_round_robin of gRPC
// (proposal A58), in which the weight of an endpoint is
//
//	RPS / (utilization + EPS/RPS × ErrorUtilizationPenalty)
//
// and its utilization LoadReport.Application or, if that is not known, CPU.
// It brings servers of different size to the same utilization within seconds,
// each caller to its own part. It does not see a queue that came up since the
// last update, and is no protection from an endpoint that is slow for a
// moment.
//
//   - A report without RPS or utilization says nothing.
//   - A weight counts from BlackoutPeriod after the first report since the
//     endpoint became known or available again, and until
//     WeightExpirationPeriod after the last; after that the blackout begins
//     anew with the next report.
//   - Endpoints without a weight have the mean of the others.
//   - While fewer than two have one it is RoundRobin, by the weights of
//     discovery. These say what somebody thought the servers could do; once
//     servers say it themselves, they count no more.
//   - No endpoint has more than ten times the mean, so that a pick passes
//     over nine on average at most, nor less than a hundredth of it, so that
//     each goes on to be asked for reports.
//
// Turns are spread evenly by a static stride scheduler and begin at a random
// place, so that many processes do not fall on the same endpoint at once. An
// endpoint that a query avoids loses its turn. All weights are renewed once in
// WeightUpdatePeriod, by a pick or a result that comes when it is time, which
// takes a moment for each endpoint and makes the only garbage that there is;
// others go on with the turns as they were. A Query whose Now is zero renews
// nothing, so that results alone do.
//
// The names of the fields are those of gRPC.
type WeightedRoundRobin struct {
	// BlackoutPeriod is for how long an endpoint must have reported before
	// its reports count: a server that has just started works unlike itself.
	// Zero means 10 s, negative that the first report counts.
	BlackoutPeriod time.Duration
	// WeightExpirationPeriod is for how long a weight counts after the report
	// that it is from. Zero means 3 min, negative for ever.
	WeightExpirationPeriod time.Duration
	// WeightUpdatePeriod is how often weights are renewed, at least 100 ms.
	// Zero means 1 s.
	WeightUpdatePeriod time.Duration
	// ErrorUtilizationPenalty is by how much a server that fails all requests
	// counts as more utilized than it is; one that fails some, by that part
	// of it. Zero means 1, negative that errors do not matter.
	ErrorUtilizationPenalty float64
}

const (
	defaultBlackoutPeriod          = 10 * time.Second
	defaultWeightExpirationPeriod  = 3 * time.Minute
	defaultWeightUpdatePeriod      = time.Second
	minWeightUpdatePeriod          = 100 * time.Millisecond
	defaultErrorUtilizationPenalty = 1
)

// New implements Policy.
func (p WeightedRoundRobin) New(env Env) Balancer {
	b := &weightedRoundRobin{
		blackout: defaultBlackoutPeriod, expiry: defaultWeightExpirationPeriod, period: defaultWeightUpdatePeriod,
		penalty: defaultErrorUtilizationPenalty, base: time.Now(),
	}
	if p.BlackoutPeriod != 0 {
		b.blackout = max(0, p.BlackoutPeriod)
	}
	switch {
	case p.WeightExpirationPeriod < 0:
		b.expiry = math.MaxInt64
	case p.WeightExpirationPeriod > 0:
		b.expiry = p.WeightExpirationPeriod
	}
	if p.WeightUpdatePeriod != 0 {
		b.period = max(p.WeightUpdatePeriod, minWeightUpdatePeriod)
	}
	if p.ErrorUtilizationPenalty != 0 {
		b.penalty = max(0, p.ErrorUtilizationPenalty)
	}
	seed := random{env.Seed}
	b.plain.phase.Store(seed.word())
	b.turn.Store(seed.word() >> turnBits)
	return b
}

// Validate implements Policy.
func (p WeightedRoundRobin) Validate() error {
	var errs []error
	if p.WeightUpdatePeriod != 0 && p.WeightUpdatePeriod < minWeightUpdatePeriod {
		errs = append(errs, fmt.Errorf("weightUpdatePeriod: %v is less than %v", p.WeightUpdatePeriod, minWeightUpdatePeriod))
	}
	if math.IsNaN(p.ErrorUtilizationPenalty) || math.IsInf(p.ErrorUtilizationPenalty, 0) {
		errs = append(errs, fmt.Errorf("errorUtilizationPenalty: %v is no finite number", p.ErrorUtilizationPenalty))
	}
	return errors.Join(errs...)
}

type weightedRoundRobin struct {
	blackout, expiry, period time.Duration
	penalty                  float64
	// base is what times are counted from, which keeps their monotonic part.
	base time.Time
	// newest is the picker that results are for.
	newest atomic.Pointer[weightedPicker]
	// plain deals turns out while too little is known.
	plain roundRobin

	_    [cacheLine]byte // the one word that all picks write has its cache line
	turn atomic.Uint64
	_    [cacheLine]byte
}

// Update implements Balancer.
func (b *weightedRoundRobin) Update(eps []*endpoint.Endpoint) Picker {
	p := &weightedPicker{
		b: b, eps: eps, reports: make([]*reported, len(eps)), plain: b.plain.Update(eps),
		known: make(map[*endpoint.Endpoint]*reported, len(eps)),
	}
	old := b.newest.Load()
	for i, ep := range eps {
		var e *reported
		if old != nil {
			e = old.known[ep]
		}
		availability := ep.Availability()
		if since := availability.Since(); e == nil || availability.Available() && !since.Equal(e.returned) {
			e = &reported{returned: since}
		}
		p.reports[i], p.known[ep] = e, e
	}
	now := int64(time.Since(b.base))
	p.schedule.Store(p.plan(now))
	p.due.Store(now + int64(b.period))
	b.newest.Store(p)
	return p
}

// Observe implements Observer.
func (b *weightedRoundRobin) Observe(ep *endpoint.Endpoint, r outcome.Result) {
	p := b.newest.Load()
	if p == nil {
		return
	}
	if r.Reported {
		if e, load := p.known[ep], ep.Load(); e != nil && load != nil && !load.At.IsZero() {
			e.add(weightOf(&load.LoadReport, b.penalty), int64(load.At.Sub(b.base)), int64(b.expiry))
		}
	}
	p.renew(int64(r.At.Sub(b.base)))
}

// weightedPicker picks by the newest schedule.
type weightedPicker struct {
	b       *weightedRoundRobin
	eps     []*endpoint.Endpoint
	reports []*reported // in the order of eps
	known   map[*endpoint.Endpoint]*reported
	plain   Picker
	// schedule is nil while plain is to pick. It never changes.
	schedule atomic.Pointer[strides]
	// due is when schedule is to be renewed, and renewing while it is.
	due atomic.Int64
}

// renewing is later than any time.
const renewing = math.MaxInt64

// Pick implements Picker.
func (p *weightedPicker) Pick(q Query) *endpoint.Endpoint {
	if !q.Now.IsZero() {
		p.renew(int64(q.Now.Sub(p.b.base)))
	}
	if s := p.schedule.Load(); s != nil {
		return s.pick(&p.b.turn, &q)
	}
	return p.plain.Pick(q)
}

// renew makes a new schedule if it is time to and nobody else does.
func (p *weightedPicker) renew(now int64) {
	if due := p.due.Load(); now < due || due == renewing || !p.due.CompareAndSwap(due, renewing) {
		return
	}
	p.schedule.Store(p.plan(now))
	p.due.Store(min(now, renewing-1-int64(p.b.period)) + int64(p.b.period))
}

// plan returns the schedule of what is known at now, nil if that is too little.
func (p *weightedPicker) plan(now int64) *strides {
	weights := make([]float64, len(p.reports))
	for i, e := range p.reports {
		weights[i] = e.at(now, int64(p.b.blackout), int64(p.b.expiry))
	}
	return newStrides(p.eps, weights)
}
