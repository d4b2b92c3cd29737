package authn

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"
)

const (
	// ways is how many places a token can be in.
	ways = 8
	// entryBytes is about what an entry takes without its claims.
	entryBytes = 320
)

// sum is what a token is remembered by: its SHA-256 together with a secret of
// this cache. Tokens themselves are not kept.
type sum [sha256.Size]byte

// entry is a token that has been verified.
type entry struct {
	sum   sum
	token Token
	// until is when it must be verified again, to be refused.
	until  time.Time
	issuer *issuer
	key    *key
	size   int64
	// used says that it has been hit since an eviction has come by.
	used atomic.Bool
}

// cache remembers verified tokens, and no others: what is refused costs no
// memory. It is a table with ways places for each token, read without locks.
// The number of its places and the sum of sizes are bounded; what has not been
// used for longest goes first, or about that.
type cache struct {
	secret  sum
	slots   []atomic.Pointer[entry]
	limit   int64
	bytes   atomic.Int64
	entries atomic.Int64
	// hand goes round when there is too much in all places together.
	hand atomic.Uint64
}

// newCache returns a cache of about that many entries, nil for none.
func newCache(entries int, limit int64) *cache {
	if entries <= 0 {
		return nil
	}
	c := &cache{limit: limit, slots: make([]atomic.Pointer[entry], max(1, entries/ways)*ways)}
	_, _ = rand.Read(c.secret[:]) // never fails
	return c
}

// sum returns what token is remembered by. It does not allocate for tokens of
// up to 8 KiB.
func (c *cache) sum(token string) sum {
	switch n := len(c.secret) + len(token); {
	case n <= 2<<10:
		var b [2 << 10]byte
		return c.hash(b[:n], token)
	case n <= 8<<10+len(c.secret):
		return c.sumLong(token)
	default:
		return c.hash(make([]byte, n), token)
	}
}

// sumLong has a frame of its own, so that only long tokens pay for clearing it.
//
//go:noinline
func (c *cache) sumLong(token string) sum {
	var b [8<<10 + sha256.Size]byte
	return c.hash(b[:len(c.secret)+len(token)], token)
}

func (c *cache) hash(b []byte, token string) sum {
	copy(b, c.secret[:])
	copy(b[len(c.secret):], token)
	return sha256.Sum256(b)
}

// places returns where a token can be.
func (c *cache) places(s sum) []atomic.Pointer[entry] {
	first := int(binary.LittleEndian.Uint64(s[:])%uint64(len(c.slots)/ways)) * ways
	return c.slots[first : first+ways]
}

// get returns the entry of a token if it still holds, else nil.
func (c *cache) get(s sum, now time.Time) *entry {
	places := c.places(s)
	for i := range places {
		e := places[i].Load()
		if e == nil || e.sum != s {
			continue
		}
		if !now.Before(e.until) || !e.issuer.has(e.key, now) {
			c.swap(&places[i], e, nil)
			return nil
		}
		// A store would take the line away from the other cores each time.
		if !e.used.Load() {
			e.used.Store(true)
		}
		return e
	}
	return nil
}

// put remembers an entry, unless it is too large to be worth it.
func (c *cache) put(e *entry, now time.Time) {
	if e.size > c.limit/ways {
		return
	}
	places := c.places(e.sum)
	at := -1
	for i := range places {
		o := places[i].Load()
		if o != nil && o.sum == e.sum {
			at = i
			break
		}
		if at < 0 && (o == nil || !now.Before(o.until)) {
			at = i
		}
	}
	// From anywhere, so that what has just come is not the next to go; twice
	// round, since others may go on hitting what has been unmarked.
	first := int(c.hand.Add(1) % ways)
	for i := first; at < 0 && i < first+2*ways; i++ {
		if o := places[i%ways].Load(); o == nil || !o.used.Swap(false) {
			at = i % ways
		}
	}
	at = max(at, 0)
	if !c.swap(&places[at], places[at].Load(), e) {
		return // another was faster; this one will come again
	}
	// Twice round: the first may only take the marks away.
	for range 2 * len(c.slots) {
		if c.bytes.Load() <= c.limit {
			return
		}
		slot := &c.slots[c.hand.Add(1)%uint64(len(c.slots))]
		if o := slot.Load(); o != nil && o != e && (!now.Before(o.until) || !o.used.Swap(false)) {
			c.swap(slot, o, nil)
		}
	}
}

// swap puts e, or nothing, in the place of old, and reports whether old was
// still there.
func (c *cache) swap(slot *atomic.Pointer[entry], old, e *entry) bool {
	if !slot.CompareAndSwap(old, e) {
		return false
	}
	if old != nil {
		c.bytes.Add(-old.size)
		c.entries.Add(-1)
	}
	if e != nil {
		c.bytes.Add(e.size)
		c.entries.Add(1)
	}
	return true
}
