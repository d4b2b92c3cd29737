package balancer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/xxh64"
)

// RingHash sends calls with the same key to the same endpoint, in every
// process that knows the same endpoints: consistent hashing (Karger et al.,
// 1997) on a ring of points, of which each endpoint has many, placed and
// counted as by Envoy and gRPC (proposal A42), with XXH64. A call goes to the
// endpoint of the first point that is not before its hash. A call that has no
// hash goes to a random endpoint.
//
// Where that endpoint is to be avoided, because an attempt of the call has
// been there, or is full, see Bound, the call goes to the next one along the
// ring: the same for each call of the key, and for all keys between the same
// points.
//
// When one of n endpoints comes or goes, about 1/n of the keys move with it
// and, since the number of points of each follows n, about as many between
// the others. Shares differ from the weights by chance, usually by 1/√p where
// an endpoint has p points: by a tenth among ten endpoints, by a fifth among
// fifty, unless MinSize and MaxSize are larger. Maglev is more even and
// faster, Rendezvous moves fewer keys; the ring is for those who need the
// choices that a ring makes.
type RingHash struct {
	// MinSize is how many points the ring has at least. Zero means 1024.
	MinSize int
	// MaxSize is how many it has at most, up to 8,388,608. Zero means 4096,
	// or MinSize if that is more. If there are more endpoints than that, each
	// has one point.
	MaxSize int
	// Bound limits calls of this process in flight at one endpoint to so many
	// times its part of all calls in flight, rounded up. At least 1, usually
	// from 1.25 to 2: the lower, the more calls of popular keys go elsewhere.
	// Among more than 16 endpoints, calls in flight are counted at least
	// every 10 ms but not in each pick, so that it may be a few calls more.
	// Zero means no limit. An endpoint that is full is still taken before one
	// to be avoided.
	Bound float64
}

const (
	defaultMinSize = 1024
	defaultMaxSize = 4096
	maxRingSize    = 8 << 20
)

// sizes returns what MinSize and MaxSize mean.
func (p RingHash) sizes() (least, most int) {
	least, most = cmp.Or(p.MinSize, defaultMinSize), p.MaxSize
	if most == 0 {
		most = max(defaultMaxSize, least)
	}
	return least, most
}

// New implements Policy.
func (p RingHash) New(Env) Balancer {
	if p.validateSizes() != nil {
		p.MinSize, p.MaxSize = 0, 0
	}
	p.MinSize, p.MaxSize = p.sizes()
	return &ringHash{RingHash: p}
}

// Validate implements Policy.
func (p RingHash) Validate() error { return errors.Join(p.validateSizes(), validateBound(p.Bound)) }

func (p RingHash) validateSizes() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	least, most := p.sizes()
	if p.MinSize < 0 || p.MinSize > maxRingSize {
		fault("minSize: %d is not from 0 to %d", p.MinSize, maxRingSize)
	}
	if p.MaxSize < 0 || p.MaxSize > maxRingSize {
		fault("maxSize: %d is not from 0 to %d", p.MaxSize, maxRingSize)
	}
	if least > most && p.MaxSize > 0 {
		fault("maxSize: %d is less than minSize, which is %d", most, least)
	}
	return errors.Join(errs...)
}

type ringHash struct {
	RingHash
	last *ringPicker
}

// Update implements Balancer. The picker stays the same if nothing that it is
// made of has changed.
func (b *ringHash) Update(eps []*endpoint.Endpoint) Picker {
	ms := members(eps)
	if b.last != nil && slices.Equal(b.last.members, ms) {
		return b.last
	}
	p := &ringPicker{chance: newChance(ms)}
	p.bound.set(b.Bound, ms)
	points := ring(ms, b.MinSize, b.MaxSize)
	p.hashes, p.owners = make([]uint64, len(points)), make([]uint32, len(points))
	for i, pt := range points {
		p.hashes[i], p.owners[i] = pt.hash, pt.owner
	}
	b.last = p
	return p
}

type point struct {
	hash  uint64
	owner uint32
}

// ring returns the points of all members in order.
func ring(ms []member, least, most int) []point {
	var total uint64
	lightest := uint64(math.MaxUint32)
	for i := range ms {
		total += uint64(ms[i].weight)
		lightest = min(lightest, uint64(ms[i].weight))
	}
	// The lightest has a whole number of points and the others as many for
	// each of its weight; where that is too much all share what there may be.
	points, weight := (lightest*uint64(least)+total-1)/total, lightest
	if hi, lo := bits.Mul64(points, total); hi > 0 || lo > uint64(most)*weight {
		points, weight = uint64(most), total
	}
	var all []point
	var text []byte
	var sum, had uint64
	for i := range ms {
		sum += uint64(ms[i].weight)
		// points·sum/weight, rounded up; it is no more than most.
		hi, lo := bits.Mul64(points, sum)
		lo, carry := bits.Add64(lo, weight-1, 0)
		upTo, _ := bits.Div64(hi+carry, lo, weight)
		text = append(append(text[:0], ms[i].ep.Addr()...), '_')
		named := len(text)
		for k := uint64(0); k == 0 || had < upTo; k++ { // everyone has one
			text = strconv.AppendUint(text[:named], k, 10)
			all = append(all, point{xxh64.Sum(text, 0), uint32(i)})
			had++
		}
	}
	slices.SortFunc(all, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.owner, b.owner))
	})
	return all
}

type ringPicker struct {
	chance
	bound  bound
	hashes []uint64
	owners []uint32
}

// Pick implements Picker.
func (p *ringPicker) Pick(q Query) *endpoint.Endpoint {
	if !q.HasHash {
		return p.chance.Pick(q)
	}
	from, _ := slices.BinarySearch(p.hashes, q.Hash)
	for f := p.bound.filter(&q); ; f.relax() {
		if m := p.first(from, &f); m != nil {
			return m.ep
		}
	}
}

// first returns the first member from a point on that the filter takes, or
// nil.
func (p *ringPicker) first(from int, f *filter) *member {
	refused := uint32(math.MaxUint32) // who had the point before
	for i := range p.owners {
		at := from + i
		if at >= len(p.owners) {
			at -= len(p.owners)
		}
		owner := p.owners[at]
		if owner == refused {
			continue
		}
		if m := &p.members[owner]; f.takes(m) {
			return m
		}
		refused = owner
	}
	return nil
}
