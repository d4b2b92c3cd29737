package ratelimit

import "time"

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

// chargeAll charges the policies from i up to end, all or none, and reports
// which. Those before the last hold their buckets until it has decided for
// all; it needs no lock for that. Once one has refused, the others are only
// looked at.
func (t *tally) chargeAll(i, end int, k *keys) bool {
	b := &t.limiter.limits[i]
	now := b.ticks(t.since)
	price, ok := b.price(t.cost)
	last := i+1 == end
	switch {
	case !ok:
		t.impossible(i, now)
	case t.dry || t.violated != 0:
		tat := b.peek(k[i])
		_, early := b.meter.charge(tat, now, price)
		t.add(i, tat, now, early)
	case last:
		tat, early := b.charge(k[i], now, price)
		t.add(i, tat, now, early)
		return early <= 0
	default:
		h, after, early := b.hold(k[i], now, price)
		if early > 0 {
			t.add(i, h.tat, now, early)
			break
		}
		t.add(i, after, now, early)
		all := t.chargeAll(i+1, end, k)
		if all {
			h.commit(b.table, after, now)
		} else {
			h.release()
		}
		return all
	}
	if !last {
		t.chargeAll(i+1, end, k)
	}
	return false
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
	remaining := b.remaining(tat, now)
	if b.Cost > 1 {
		remaining /= b.Cost
	}
	if !t.found || remaining < t.remaining {
		t.found, t.tightest, t.tat, t.now, t.remaining = true, i, tat, now, remaining
	}
}

// tell makes d the decision.
func (t *tally) tell(d *Decision) {
	b := &t.limiter.limits[t.tightest]
	d.Allowed, d.Policy, d.Limit = t.violated == 0, b.Name, b.Burst
	d.Remaining, d.Reset, d.RetryAfter = b.remaining(t.tat, t.now), b.reset(t.tat, t.now), t.wait
	d.limiter, d.policy, d.violated = t.limiter, t.tightest, t.violated
}
