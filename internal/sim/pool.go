package sim

import (
	"math"
	"slices"
	"time"
)

// probed is the answer of a server to a probe, as it stands in a pool.
type probed struct {
	server   int
	at       time.Time // when it came
	inFlight int
	latency  time.Duration
	uses     int // that are left
}

// pool has the answers that a Prequal chooses from, the oldest first.
type pool struct{ answers []probed }

// add takes in an answer in the place of an older one of the same server, else
// of the oldest if the pool is full.
func (p *pool) add(a probed) {
	if i := slices.IndexFunc(p.answers, func(o probed) bool { return o.server == a.server }); i >= 0 {
		p.remove(i)
	} else if len(p.answers) == prequalPool {
		p.remove(0)
	}
	p.answers = append(p.answers, a)
}

func (p *pool) remove(i int) { p.answers = slices.Delete(p.answers, i, i+1) }

// keep removes what is not to be kept.
func (p *pool) keep(is func(probed) bool) {
	p.answers = slices.DeleteFunc(p.answers, func(a probed) bool { return !is(a) })
}

// forget removes what came before since.
func (p *pool) forget(since time.Time) {
	p.keep(func(a probed) bool { return !a.at.Before(since) })
}

// best returns the answer to choose, with limit as that beyond which a server
// is hot: the cold one of the lowest latency or, if all are hot, that with the
// fewest requests.
func (p *pool) best(limit int) int {
	best := 0
	for i := range p.answers {
		if p.better(i, best, limit) {
			best = i
		}
	}
	return best
}

func (p *pool) better(i, j, limit int) bool {
	a, b := &p.answers[i], &p.answers[j]
	hotA, hotB := a.inFlight > limit, b.inFlight > limit
	switch {
	case hotA != hotB:
		return hotB
	case hotA:
		return a.inFlight < b.inFlight
	default:
		return a.latency < b.latency
	}
}

// use takes one use of the i-th answer and returns its server. That the call
// comes to the requests there is known without another probe.
func (p *pool) use(i int) int {
	a := &p.answers[i]
	server := a.server
	a.inFlight++
	if a.uses--; a.uses <= 0 {
		p.remove(i)
	}
	return server
}

// shed removes the worst answer, the last in the order of best, or the oldest.
// Otherwise those that nobody wants would be all that is left in the end.
func (p *pool) shed(limit int, worst bool) {
	if len(p.answers) == 0 {
		return
	}
	last := 0
	for i := range p.answers {
		if worst && p.better(last, i, limit) {
			last = i
		}
	}
	p.remove(last)
}

// recent has the requests in flight that the last answers told of.
type recent struct {
	quantile float64
	told     [prequalRecent]int
	n        int
}

func (r *recent) add(inFlight int) {
	r.told[r.n%prequalRecent] = inFlight
	r.n++
}

// limit returns the quantile: the least number that so great a part of the
// answers does not exceed.
func (r *recent) limit() int {
	n := min(r.n, prequalRecent)
	if n == 0 {
		return math.MaxInt
	}
	sorted := r.told
	slices.Sort(sorted[:n])
	return sorted[max(0, int(math.Ceil(r.quantile*float64(n)))-1)]
}
