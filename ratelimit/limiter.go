package ratelimit

import (
	"net/http"
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
	// single says that there is one policy, enforced in this process, as most
	// limiters have it.
	single bool
	remote *remote // nil without a Store
	queue  queue

	advertised string // the RateLimit-Policy field

	allowed counter
	// refused counts where there are several policies; of a single one it is
	// what that refuses.
	refused counter
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
	l.single = len(l.limits) == 1 && l.enforced == 1 && l.remote == nil
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
func (l *Limiter) Take(r *http.Request, cost int64, now time.Time) (d Decision) {
	if !l.single {
		return l.takeAll(r, cost, now)
	}
	// What follows is chargeAll for one policy, by hand.
	b := &l.limits[0]
	var hash uint64
	if b.table != nil {
		hash = b.extractor.hash(r, &l.seeds)
	}
	since := now.Sub(l.epoch)
	d.limiter, d.Policy, d.Limit = l, b.Name, b.Burst
	price, ok := b.price(cost)
	if !ok {
		d.Remaining, d.violated = b.Burst, 1
		b.refused.add(since)
		return d
	}
	at := b.ticks(since)
	tat, early := b.charge(hash, at, price)
	d.Remaining, d.Reset = b.remaining(tat, at), b.reset(tat, at)
	if early <= 0 {
		d.Allowed = true
		l.allowed.add(since)
		return d
	}
	d.RetryAfter, d.violated = b.duration(early), 1
	b.refused.add(since)
	return d
}

// takeAll is Take for any number of policies, here or in a Store.
func (l *Limiter) takeAll(r *http.Request, cost int64, now time.Time) (d Decision) {
	since := now.Sub(l.epoch)
	if l.remote != nil {
		asked := time.Now()
		d = l.takeRemote(r, cost, since)
		d.Waited = time.Since(asked)
	} else {
		var k keys
		l.keysOf(r, &k)
		l.decide(&d, &k, cost, since)
	}
	l.count(&d, since)
	return d
}

// decide charges the enforced policies, all or none, and if they allow the
// request the observed ones likewise.
func (l *Limiter) decide(d *Decision, k *keys, cost int64, since time.Duration) {
	d.Allowed, d.limiter = true, l
	if l.enforced > 0 {
		t := tally{limiter: l, cost: cost, since: since}
		t.chargeAll(0, l.enforced, k)
		t.tell(d)
	}
	if d.Allowed && l.enforced < len(l.limits) {
		t := tally{limiter: l, cost: cost, since: since}
		t.chargeAll(l.enforced, len(l.limits), k)
		d.excess = t.violated
	}
}

// impossible is the refusal of what costs more than the burst of policy i.
func (l *Limiter) impossible(i int) (d Decision) {
	t := tally{limiter: l}
	t.impossible(i, 0)
	t.tell(&d)
	return d
}

// count counts a decision.
func (l *Limiter) count(d *Decision, since time.Duration) {
	if d.Allowed {
		l.allowed.add(since)
		if d.excess != 0 {
			l.each(d.excess, func(b *limit) { b.wouldRefuse.Add(1) })
		}
		return
	}
	l.each(d.violated, func(b *limit) { b.refused.add(since) })
	if !l.single {
		l.refused.add(since)
	}
}

// each calls f for the policies of a set.
func (l *Limiter) each(set uint16, f func(*limit)) {
	for i := range l.limits {
		if set&(1<<i) != 0 {
			f(&l.limits[i])
		}
	}
}
