package sim

import (
	"math"
	"time"
)

// Prequal chooses by probes, as published by Wydrowski and others ("Load is
// not what you should balance: Introducing Prequal", NSDI 2024), in its
// asynchronous mode and with the constants given there. Each call sends three
// probes to servers drawn by chance; the answers go to a pool of at most 16
// and serve later calls for a second. A call takes, of those in the pool that
// have no more requests in than most, the one with the lowest latency, and if
// there is none the one with the fewest requests.
//
// Left out is what the publication leaves open: how it keeps away from servers
// that fail fast. A caller that makes no calls sends no probes.
type Prequal struct {
	// Quantile is which part of the answers of late a server must not exceed
	// in its requests for its latency to count. Zero means 2^-0.25, negative
	// that nothing but the requests counts.
	Quantile float64
	// Once has an answer serve one call only. Otherwise it serves as many as
	// the publication says, see reuseBudget.
	Once bool
}

const (
	prequalPool   = 16
	prequalProbes = 3 // for each call
	prequalRemove = 1 // by each call, beyond what it uses up
	prequalDelta  = 1
	prequalMaxAge = time.Second
	// prequalRecent is how many answers the quantile is of.
	prequalRecent = 64
	// prequalMaxUses is how often an answer is used where the publication says
	// nothing, since the pool would shrink without being used.
	prequalMaxUses = 16
)

// reuseBudget returns how many calls an answer serves on the average, among n
// servers. A probe to one that is in the pool adds nothing to it.
func reuseBudget(n int) float64 {
	growth := (1-prequalPool/float64(n))*prequalProbes - prequalRemove
	if growth <= 0 {
		return prequalMaxUses
	}
	return min(prequalMaxUses, max(1, (1+prequalDelta)/growth))
}

// New implements Chooser.
func (p Prequal) New(c *Caller) Picker {
	q := &prequal{caller: c, once: p.Once, recent: recent{quantile: p.Quantile}}
	switch {
	case p.Quantile == 0:
		q.recent.quantile = math.Pow(2, -0.25)
	case p.Quantile < 0:
		q.recent.quantile = 0
	}
	return q
}

type prequal struct {
	caller *Caller
	once   bool
	pool   pool
	recent recent
	// worst says that it is the turn of the worst answer to be removed, not
	// of the oldest.
	worst bool
	drawn []int
	// byPool and byChance count picks.
	byPool, byChance uint64
}

// Pick implements Picker.
func (q *prequal) Pick(now time.Time, _ uint64) int {
	usable := q.caller.Usable()
	if len(usable) == 0 {
		return -1
	}
	q.pool.forget(now.Add(-prequalMaxAge))
	limit := q.recent.limit()
	server := -1
	if len(q.pool.answers) < 2 {
		server = usable[q.caller.Rand().IntN(len(usable))]
		q.byChance++
	} else {
		server = q.pool.use(q.pool.best(limit))
		q.byPool++
	}
	for range prequalRemove {
		q.pool.shed(limit, q.worst)
		q.worst = !q.worst
	}
	q.probe()
	return server
}

// probe sends the probes of a call.
func (q *prequal) probe() {
	rnd, fleet := q.caller.Rand(), q.caller.Fleet()
	q.drawn = append(q.drawn[:0], q.caller.Usable()...)
	for i := range min(prequalProbes, len(q.drawn)) {
		j := i + rnd.IntN(len(q.drawn)-i)
		q.drawn[i], q.drawn[j] = q.drawn[j], q.drawn[i]
		server := q.drawn[i]
		q.caller.Probe(server, func(r Reading) {
			if e := q.caller.Endpoint(server); e == nil || !e.Available() {
				return
			}
			q.recent.add(r.InFlight)
			q.pool.add(probed{server: server, at: fleet.Now(), inFlight: r.InFlight, latency: r.Latency, uses: q.uses()})
		})
	}
}

// uses returns how many calls an answer serves: the budget, rounded up as
// often as its fraction says.
func (q *prequal) uses() int {
	if q.once {
		return 1
	}
	whole, part := math.Modf(reuseBudget(len(q.caller.Usable())))
	if q.caller.Rand().Float64() < part {
		whole++
	}
	return int(whole)
}

// Update implements Updater.
func (q *prequal) Update() {
	q.pool.keep(func(a probed) bool { return q.caller.Endpoint(a.server).Available() })
}

// Reasons implements Counter.
func (q *prequal) Reasons(counts map[string]uint64) {
	counts["pool"] += q.byPool
	counts["chance"] += q.byChance
}
