package ratelimit

import (
	"math"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
)

// table holds the buckets of one policy, a fixed number of slots in sets of
// ways. A key may lie in any slot of one set; its hash, seeded by chance, says
// in which.
//
// What happens when a set is full is Space-Saving (Metwally, Agrawal and
// El Abbadi, 2005) with debts as counters: a newcomer takes the slot with the
// least debt and inherits that debt. Since the arrival times in a set only ever
// grow, a key that has lost its slot and comes back inherits no less than it
// owed: nobody is forgiven anything, whatever a flood of keys does. Where the
// least debt is none, nothing is lost and nobody is charged too much; that is
// so unless all keys of the set are active at once.
//
// A key with a slot is charged without a lock. Slots change hands under the
// mutex of their stripe, so that a key never gets two.
type table struct {
	slots   []slot
	sets    uint64
	stripes [stripes]stripe
	// evicted counts keys that lost their slot while they owed nothing,
	// displaced those that did owe something.
	evicted, displaced atomic.Uint64
}

const (
	ways    = 16
	stripes = 64
)

// slot is a bucket and whose it is. tat is locked while its sign bit is set;
// tag changes only then, and every time the lock is lifted after such a change,
// tat is greater than before. So whoever finds the same tat before and after
// reading tag knows that they belong together.
type slot struct {
	tag atomic.Uint64
	tat atomic.Int64
}

const locked = math.MinInt64

type stripe struct {
	sync.Mutex
	_ [56]byte
}

func newTable(keys int) *table {
	sets := (keys + ways - 1) / ways
	return &table{slots: make([]slot, sets*ways), sets: uint64(sets)}
}

// place returns the set of a hash and the index of its stripe.
func (t *table) place(hash uint64) ([]slot, uint64) {
	i, _ := bits.Mul64(hash, t.sets)
	return t.slots[i*ways : (i+1)*ways : (i+1)*ways], i % stripes
}

// find returns the slot of hash in its set, nil if it has none.
func find(set []slot, hash uint64) *slot {
	// A key starts where its hash points, and is mostly found there.
	if s := &set[hash%ways]; s.tag.Load() == hash {
		return s
	}
	for i := range set {
		if set[i].tag.Load() == hash {
			return &set[i]
		}
	}
	return nil
}

// least returns the slot of the least debt, and its arrival time. Among equals
// the one where hash points comes first.
func least(set []slot, hash uint64) (*slot, int64) {
	best := &set[hash%ways]
	tat := best.tat.Load() &^ locked
	for i := range set {
		if v := set[i].tat.Load() &^ locked; v < tat {
			best, tat = &set[i], v
		}
	}
	return best, tat
}

// held is a locked bucket.
type held struct {
	slot *slot
	tat  int64
	// tag and mu are set for a newcomer, who has the slot only once he is
	// charged.
	tag uint64
	mu  *sync.Mutex
}

// hold locks the bucket of hash, or the slot that it would take.
func (t *table) hold(hash uint64) held {
	set, stripe := t.place(hash)
	for spin := 0; ; spin++ {
		s := find(set, hash)
		if s == nil {
			break
		}
		tat := s.tat.Load()
		if tat >= 0 && s.tag.Load() == hash && s.tat.CompareAndSwap(tat, tat|locked) {
			return held{slot: s, tat: tat}
		}
		pause(spin)
	}
	mu := &t.stripes[stripe].Mutex
	mu.Lock()
	for spin := 0; ; spin++ {
		if s := find(set, hash); s != nil {
			// Somebody has given it a slot, which it keeps while mu is held.
			tat := lock(s)
			mu.Unlock()
			return held{slot: s, tat: tat}
		}
		s, tat := least(set, hash)
		// Of the others none has become less since it was looked at.
		if s.tat.CompareAndSwap(tat, tat|locked) {
			return held{slot: s, tat: tat, tag: hash, mu: mu}
		}
		pause(spin)
	}
}

// lock locks a bucket whose owner cannot change.
func lock(s *slot) int64 {
	for spin := 0; ; spin++ {
		if tat := s.tat.Load(); tat >= 0 && s.tat.CompareAndSwap(tat, tat|locked) {
			return tat
		}
		pause(spin)
	}
}

// release lifts the lock without a charge.
func (h held) release() {
	h.slot.tat.Store(h.tat)
	if h.mu != nil {
		h.mu.Unlock()
	}
}

// commit charges the bucket, whose arrival time becomes after, and lifts the
// lock. t is nil for a bucket outside of tables.
func (h held) commit(t *table, after, now int64) {
	if h.mu == nil {
		h.slot.tat.Store(after)
		return
	}
	if before := h.slot.tag.Load(); before != 0 {
		if h.tat > now {
			t.displaced.Add(1)
		} else {
			t.evicted.Add(1)
		}
	}
	h.slot.tag.Store(h.tag)
	h.slot.tat.Store(after)
	h.mu.Unlock()
}

// pause waits for another goroutine that holds a lock for some instructions.
func pause(spin int) {
	if spin >= 16 {
		runtime.Gosched()
	}
}

// looked is at how many slots active looks at most, a mebibyte of them.
const looked = 1 << 16

// active returns how many keys owe something. Of a table with more slots than
// looked it looks at some sets, evenly apart, and takes the others to be like
// them: keys lie in sets by chance.
func (t *table) active(now int64) int {
	sets := min(t.sets, looked/ways)
	apart := t.sets / sets
	n := uint64(0)
	for i := range sets {
		set := t.slots[i*apart*ways:][:ways]
		for j := range set {
			if set[j].tat.Load()&^locked > now {
				n++
			}
		}
	}
	return int(n * t.sets / sets)
}
