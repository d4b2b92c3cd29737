package ratelimit

import (
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// Limiter carries out a Config. It is safe for concurrent use.
type Limiter struct {
	config Config
	epoch  time.Time
	seeds  seeds
	// limits holds the policies, the first enforced of them in Mode Enforce.
	// Locks are taken in this order.
	limits   []limit
	enforced int
	remote   *remote // nil without a Store
	queue    queue

	advertised string // the RateLimit-Policy field
	// allowed counts in parts, so that processors do not fight over one.
	allowed [counterParts]counter
	refused atomic.Uint64
}

const counterParts = 8

type counter struct {
	atomic.Uint64
	_ [56]byte
}

// New returns a Limiter, or every fault of the configuration.
func New(c Config) (*Limiter, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.Effective()
	l := &Limiter{config: c, epoch: time.Now(), seeds: newSeeds(), limits: make([]limit, len(c.Policies))}
	n := 0
	for _, observed := range []bool{false, true} {
		for _, p := range c.Policies {
			if p.observed() == observed {
				l.limits[n].Policy = p
				n++
			}
		}
		if !observed {
			l.enforced = n
		}
	}
	local := c.Store == nil || c.OnStoreFailure == FailLocal
	for i := range l.limits {
		b := &l.limits[i]
		b.meter = newMeter(b.Requests, b.Period, b.Burst)
		b.extractor = b.Key.extractor()
		for b.keyed = 0; l.limits[b.keyed].Key != b.Key; b.keyed++ {
		}
		if local && !b.Key.global() {
			b.table = newTable(b.MaxKeys)
		}
	}
	if c.Store != nil {
		l.remote = newRemote(c)
	}
	l.queue.init(l)
	l.advertised = advertise(l.limits[:l.enforced])
	return l, nil
}

// keys are the hashes of a request's keys by policy, 0 where all share a
// bucket, or where the request has no key.
type keys [maxPolicies]uint64

func (l *Limiter) keysOf(r *http.Request, k *keys) {
	for i := range l.limits {
		b := &l.limits[i]
		switch {
		case b.keyed < i:
			k[i] = k[b.keyed]
		case b.table == nil:
		default:
			k[i] = b.extractor.hash(r, &l.seeds)
		}
	}
}

// Take decides on a request, charges it if it is allowed, and counts it. It
// does not wait, except for a Store. The request costs what its policies say,
// times cost; a cost below 1 is 1. now is the time, with the monotonic reading
// that time.Now gives it; if it lacks one and goes back, requests are refused
// until it has caught up. Without a Store, Take does not allocate unless a key
// has to be decoded.
func (l *Limiter) Take(r *http.Request, cost int64, now time.Time) Decision {
	if l.remote != nil {
		return l.counted(l.takeRemote(r, cost, now))
	}
	if len(l.limits) == 1 && l.enforced == 1 {
		return l.takeOne(r, cost, now)
	}
	var k keys
	l.keysOf(r, &k)
	return l.counted(l.decide(&k, cost, now.Sub(l.epoch)))
}

// takeOne is Take for a single policy, which most limiters have.
func (l *Limiter) takeOne(r *http.Request, cost int64, now time.Time) Decision {
	b := &l.limits[0]
	var hash uint64
	if b.table != nil {
		hash = b.extractor.hash(r, &l.seeds)
	}
	at := b.ticks(now.Sub(l.epoch))
	price, ok := b.price(cost)
	if !ok {
		return l.counted(l.impossible(0))
	}
	tat, early := b.charge(hash, at, price)
	d := Decision{
		Allowed: early <= 0, Policy: b.Name, Limit: b.Burst,
		Remaining: b.remaining(tat, at), Reset: b.reset(tat, at), limiter: l,
	}
	if d.Allowed {
		l.allowed[rand.Uint32()%counterParts].Add(1)
		return d
	}
	d.RetryAfter, d.violated = b.duration(early), 1
	l.refused.Add(1)
	b.refused.Add(1)
	return d
}

// impossible is the refusal of what costs more than the burst of policy i.
func (l *Limiter) impossible(i int) Decision {
	t := tally{limiter: l}
	t.impossible(i, 0)
	return t.decision()
}

// decide charges the enforced policies, all or none, and if they allow the
// request the observed ones likewise.
func (l *Limiter) decide(k *keys, cost int64, since time.Duration) Decision {
	d := l.charge(0, l.enforced, k, cost, since)
	if d.Allowed && l.enforced < len(l.limits) {
		d.excess = l.charge(l.enforced, len(l.limits), k, cost, since).violated
	}
	return d
}

// charge charges the policies from first up to end, all or none.
func (l *Limiter) charge(first, end int, k *keys, cost int64, since time.Duration) Decision {
	t := tally{limiter: l, cost: cost, since: since}
	switch end - first {
	case 0:
		return Decision{Allowed: true, limiter: l}
	case 1:
		b := &l.limits[first]
		now := b.ticks(since)
		if price, ok := b.price(cost); ok {
			tat, early := b.charge(k[first], now, price)
			t.add(first, tat, now, early)
		} else {
			t.impossible(first, now)
		}
	default:
		t.chargeAll(first, end, k)
	}
	return t.decision()
}

// tally is what policies say of one request.
type tally struct {
	limiter  *Limiter
	cost     int64
	since    time.Duration
	dry      bool // charge nothing
	violated uint16
	never    bool

	// tightest is the policy that the decision names: of those that refuse
	// the one with the longest wait, else the one with the fewest requests
	// left.
	found     bool
	tightest  int
	tat, now  int64
	wait      time.Duration
	remaining int64 // in requests, where compared
}

// chargeAll holds the buckets of the policies from i up to end, then charges
// all or none of them, and reports which.
func (t *tally) chargeAll(i, end int, k *keys) bool {
	if i == end {
		return t.violated == 0 && !t.dry
	}
	b := &t.limiter.limits[i]
	now := b.ticks(t.since)
	price, ok := b.price(t.cost)
	if !ok {
		t.impossible(i, now)
		return t.chargeAll(i+1, end, k)
	}
	h := b.hold(k[i])
	after, early := b.meter.charge(h.tat, now, price)
	tat := after
	if early > 0 {
		tat = h.tat
	}
	t.add(i, tat, now, early)
	all := t.chargeAll(i+1, end, k)
	if all {
		h.commit(b.table, after, now)
	} else {
		h.release()
	}
	return all
}

// impossible notes a policy whose burst is less than the cost.
func (t *tally) impossible(i int, now int64) {
	t.never = true
	t.violated |= 1 << i
	t.found, t.tightest, t.tat, t.now, t.wait = true, i, now, now, 0
}

// add notes what policy i says. Waits are compared in time, since the ticks of
// policies differ.
func (t *tally) add(i int, tat, now, early int64) {
	b := &t.limiter.limits[i]
	if early > 0 {
		wait := b.duration(early)
		if !t.never && (t.violated == 0 || wait > t.wait) {
			t.found, t.tightest, t.tat, t.now, t.wait = true, i, tat, now, wait
		}
		t.violated |= 1 << i
		return
	}
	if t.violated != 0 {
		return
	}
	if remaining := b.remaining(tat, now) / b.Cost; !t.found || remaining < t.remaining {
		t.found, t.tightest, t.tat, t.now, t.remaining = true, i, tat, now, remaining
	}
}

func (t *tally) decision() Decision {
	b := &t.limiter.limits[t.tightest]
	return Decision{
		Allowed: t.violated == 0, Policy: b.Name, Limit: b.Burst,
		Remaining: b.remaining(t.tat, t.now), Reset: b.reset(t.tat, t.now), RetryAfter: t.wait,
		limiter: t.limiter, policy: t.tightest, violated: t.violated,
	}
}

// counted counts a decision.
func (l *Limiter) counted(d Decision) Decision {
	if d.Allowed {
		l.allowed[rand.Uint32()%counterParts].Add(1)
		if d.excess != 0 {
			l.each(d.excess, func(b *limit) { b.wouldRefuse.Add(1) })
		}
		return d
	}
	l.refused.Add(1)
	l.each(d.violated, func(b *limit) { b.refused.Add(1) })
	return d
}

// each calls f for the policies of a set.
func (l *Limiter) each(set uint16, f func(*limit)) {
	for i := range l.limits {
		if set&(1<<i) != 0 {
			f(&l.limits[i])
		}
	}
}
