package ratelimit

import (
	"math"
	"sync/atomic"
)

// limit is a policy with its buckets.
type limit struct {
	Policy
	meter
	// keyed is the number of the first policy with the same Key, whose hash
	// serves this one too.
	keyed     int
	extractor extractor
	table     *table // nil for a global key

	refused counter
	// Few requests come to these.
	wouldRefuse, wouldRefuseSucceeded atomic.Uint64

	_ [64]byte
	// common is the bucket of a global key, or of requests without a key.
	common slot
	_      [64]byte
}

// price returns the cost of a request that costs n times what others do, in
// ticks, and whether it is within the burst.
func (l *limit) price(n int64) (int64, bool) {
	if n <= 1 {
		return l.Cost << l.shift, true
	}
	if n > l.Burst/l.Cost {
		return math.MaxInt64, false
	}
	return n * l.Cost << l.shift, true
}

// peek returns the arrival time of the bucket of a hash, 0 for the common one,
// or of the one that it would take over.
func (l *limit) peek(hash uint64) int64 {
	if hash == 0 || l.table == nil {
		return l.common.tat.Load() &^ locked
	}
	set, _ := l.table.place(hash)
	if s := find(set, hash); s != nil {
		// It may have changed hands since, and the new owner owes no less.
		return s.tat.Load() &^ locked
	}
	_, tat := least(set, hash)
	return tat
}

// hold locks the bucket of a hash, 0 for the common one, if a charge is not too
// early, and returns what the charge would make of it. If it is, nothing is
// locked.
func (l *limit) hold(hash uint64, now, cost int64) (h held, after, early int64) {
	s := &l.common
	var set []slot
	if hash != 0 && l.table != nil {
		set, _ = l.table.place(hash)
		s = find(set, hash)
	}
	for spin := 0; s != nil; spin++ {
		tat := s.tat.Load()
		if tat >= 0 && (set == nil || s.tag.Load() == hash) {
			after, early = l.meter.charge(tat, now, cost)
			if early > 0 {
				if s.tat.Load() == tat {
					return held{tat: tat}, after, early
				}
			} else if s.tat.CompareAndSwap(tat, tat|locked) {
				return held{slot: s, tat: tat}, after, early
			}
		}
		pause(spin)
		if set != nil {
			s = find(set, hash)
		}
	}
	h = l.table.hold(hash)
	after, early = l.meter.charge(h.tat, now, cost)
	if early > 0 {
		h.release()
	}
	return h, after, early
}

// charge charges a bucket by itself, without a lock where it has a slot. It
// returns the arrival time afterwards, and how long the charge was too early:
// if that is positive, nothing has changed and tat is as it was.
func (l *limit) charge(hash uint64, now, cost int64) (tat, early int64) {
	if hash == 0 || l.table == nil {
		return l.chargeCommon(now, cost)
	}
	set, _ := l.table.place(hash)
	for spin := 0; ; spin++ {
		s := find(set, hash)
		if s == nil {
			break
		}
		tat := s.tat.Load()
		if tat < 0 || s.tag.Load() != hash {
			pause(spin)
			continue
		}
		after, early := l.meter.charge(tat, now, cost)
		if early > 0 {
			if s.tat.Load() == tat {
				return tat, early
			}
		} else if s.tat.CompareAndSwap(tat, after) {
			return after, early
		}
	}
	h := l.table.hold(hash)
	after, early := l.meter.charge(h.tat, now, cost)
	if early > 0 {
		h.release()
		return h.tat, early
	}
	h.commit(l.table, after, now)
	return after, early
}

func (l *limit) chargeCommon(now, cost int64) (tat, early int64) {
	for spin := 0; ; spin++ {
		tat := l.common.tat.Load()
		if tat < 0 {
			pause(spin)
			continue
		}
		after, early := l.meter.charge(tat, now, cost)
		if early > 0 {
			return tat, early
		}
		if l.common.tat.CompareAndSwap(tat, after) {
			return after, early
		}
	}
}
