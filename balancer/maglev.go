package balancer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/xxh64"
)

// Maglev sends calls with the same key to the same endpoint, in every process
// that knows the same endpoints, by a look into one table: the hashing of
// Google's load balancer of that name (Eisenbud et al., "Maglev", 2016),
// extended by weights. A call that has no hash goes to a random endpoint.
//
// Where that endpoint is to be avoided, because an attempt of the call has
// been there, or is full, see Bound, the call goes to another: the same for
// each call of the key, and different ones for different keys.
//
// Keys are shared out by weight, within about one part in a hundred where the
// table has a hundred places for each endpoint. When one of n endpoints comes
// or goes, the 1/n of the keys that are its own move, and somewhat fewer
// between the others. The table takes four bytes a place, 256 KiB by default,
// and some milliseconds to build when the set changes; it is never built
// while a call waits for its pick.
type Maglev struct {
	// TableSize is how many places the table has: a prime number up to
	// 5,000,011, at least a hundred times the number of endpoints for even
	// shares. Zero means 65,537.
	TableSize int
	// Bound limits calls in flight as it does in RingHash. Zero means no
	// limit.
	Bound float64
}

const (
	defaultTableSize = 65537
	maxTableSize     = 5_000_011
)

// New implements Policy.
func (p Maglev) New(Env) Balancer {
	if p.validateTableSize() != nil {
		p.TableSize = 0
	}
	p.TableSize = cmp.Or(p.TableSize, defaultTableSize)
	return &maglev{Maglev: p}
}

// Validate implements Policy.
func (p Maglev) Validate() error { return errors.Join(p.validateTableSize(), validateBound(p.Bound)) }

func (p Maglev) validateTableSize() error {
	// For numbers of this size ProbablyPrime makes no mistakes.
	if n := p.TableSize; n != 0 && (n < 2 || n > maxTableSize || !big.NewInt(int64(n)).ProbablyPrime(0)) {
		return fmt.Errorf("tableSize: %d is not a prime number up to %d", n, maxTableSize)
	}
	return nil
}

type maglev struct {
	Maglev
	last *maglevPicker
}

// Update implements Balancer. The picker stays the same if nothing that it is
// made of has changed.
func (b *maglev) Update(eps []*endpoint.Endpoint) Picker {
	ms := members(eps)
	if b.last != nil && slices.Equal(b.last.members, ms) {
		return b.last
	}
	p := &maglevPicker{chance: newChance(ms), table: table(ms, uint64(b.TableSize))}
	p.bound.set(b.Bound, ms)
	b.last = p
	return p
}

// table returns who has which of size places.
//
// Each member has all places in an order of its own and takes the first one
// that is free whenever it is its turn. Its k-th turn, from 0, is in round
// k·heaviest/weight, rounded up; within a round turns go by address.
func table(ms []member, size uint64) []uint32 {
	var heaviest uint64
	for i := range ms {
		heaviest = max(heaviest, uint64(ms[i].weight))
	}
	type order struct{ place, skip, turns uint64 }
	orders := make([]order, len(ms))
	for i := range ms {
		addr := ms[i].ep.Addr()
		// Any skip from 1 to size-1 leads to all places, as size is prime.
		orders[i] = order{place: xxh64.Sum(addr, 0) % size, skip: xxh64.Sum(addr, 1)%(size-1) + 1}
	}
	const free = math.MaxUint32
	places := slices.Repeat([]uint32{free}, int(size))
	left := size
	take := func(i uint64) {
		o := &orders[i]
		for places[o.place] != free {
			if o.place += o.skip; o.place >= size {
				o.place -= size
			}
		}
		places[o.place] = uint32(i)
		o.turns++
		left--
	}
	// The first turns are all in round 0; then due has the next of each.
	var due deadlines
	for i := uint64(0); i < uint64(len(ms)) && left > 0; i++ {
		take(i)
		due.push(1<<32*turn(1, heaviest, ms[i].weight) | i)
	}
	for left > 0 {
		i := due.pop() & math.MaxUint32
		take(i)
		due.push(1<<32*turn(orders[i].turns, heaviest, ms[i].weight) | i)
	}
	return places
}

// turn returns the round of the k-th turn. What is beyond any table is cut to
// what fits into half a word.
func turn(k, heaviest uint64, weight uint32) uint64 {
	return min((k*heaviest+uint64(weight)-1)/uint64(weight), math.MaxUint32)
}

type maglevPicker struct {
	chance
	bound bound
	table []uint32
}

// maxProbes is how often a pick looks into the table before it goes through
// all members.
const maxProbes = 64

// Pick implements Picker.
func (p *maglevPicker) Pick(q Query) *endpoint.Endpoint {
	if !q.HasHash {
		return p.chance.Pick(q)
	}
	for f := p.bound.filter(&q); ; f.relax() {
		if m := p.first(q.Hash, &f); m != nil {
			return m.ep
		}
	}
}

// first returns the first member in the order of a key that the filter takes,
// or nil. The order begins at the place of the hash and goes on at places
// that follow from it.
func (p *maglevPicker) first(hash uint64, f *filter) *member {
	r := random{hash}
	for range maxProbes {
		if m := &p.members[p.table[hash%uint64(len(p.table))]]; f.takes(m) {
			return m
		}
		hash = r.word()
	}
	from := int(hash % uint64(len(p.members)))
	for i := range p.members {
		if m := &p.members[(from+i)%len(p.members)]; f.takes(m) {
			return m
		}
	}
	return nil
}
