package balancer

import (
	"math"
	"slices"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/xxh64"
)

// Rendezvous sends calls with the same key to the same endpoint, in every
// process that knows the same endpoints: each key ranks all endpoints by a
// hash of both, and its calls go to the first ("highest random weight",
// Thaler and Ravishankar, 1998; with weights as by Schindelhauer and
// Schomaker, 2005). A call that has no hash goes to a random endpoint.
//
// Where that endpoint is to be avoided, because an attempt of the call has
// been there, or is full, see Bound, the call goes to the next in the rank of
// its key: so the calls of an endpoint that fails spread over all others.
//
// Keys are shared out by weight as evenly as chance does it. When an endpoint
// comes or goes, its own keys move and no others, and when its weight
// changes, keys move to it or away from it only. A pick looks at all
// endpoints, which takes about two microseconds for a thousand: for more than
// a few hundred Maglev is the better choice.
type Rendezvous struct {
	// Bound limits calls in flight as it does in RingHash. Zero means no
	// limit.
	Bound float64
}

// New implements Policy.
func (p Rendezvous) New(Env) Balancer { return &rendezvous{Rendezvous: p} }

// Validate implements Policy.
func (p Rendezvous) Validate() error { return validateBound(p.Bound) }

type rendezvous struct {
	Rendezvous
	last *rendezvousPicker
}

// Update implements Balancer. The picker stays the same if nothing that it is
// made of has changed.
func (b *rendezvous) Update(eps []*endpoint.Endpoint) Picker {
	ms := members(eps)
	if b.last != nil && slices.Equal(b.last.members, ms) {
		return b.last
	}
	p := &rendezvousPicker{chance: newChance(ms), sites: make([]site, len(ms))}
	p.bound.set(b.Bound, ms)
	p.equal = p.lots.alias == nil
	for i := range ms {
		p.sites[i] = site{xxh64.Sum(ms[i].ep.Addr(), 0), 1 / float64(ms[i].weight)}
	}
	b.last = p
	return p
}

// site is what ranks a member.
type site struct {
	hash    uint64
	inverse float64 // of the weight
}

type rendezvousPicker struct {
	chance
	bound bound
	sites []site
	// equal says that the weights are, so that -ln(u) need not be known to
	// find the least.
	equal bool
}

// Pick implements Picker.
func (p *rendezvousPicker) Pick(q Query) *endpoint.Endpoint {
	if !q.HasHash {
		return p.chance.Pick(q)
	}
	for f := p.bound.filter(&q); ; f.relax() {
		if m := p.first(q.Hash, &f); m != nil {
			return m.ep
		}
	}
}

// first returns the first member in the rank of a key that the filter takes,
// or nil.
//
// A key and a member make a number u from 0 to 1. -ln(u) is distributed
// exponentially, so that of all -ln(u)/weight that of a member is the least
// with a probability in proportion to its weight.
func (p *rendezvousPicker) first(hash uint64, f *filter) *member {
	var first *member
	least := math.Inf(1)
	for i := range p.sites {
		s := &p.sites[i]
		r := random{hash ^ s.hash}
		rest := (float64(r.word()>>11) + 0.5) / (1 << 53) // 1-u
		// -ln(u) is at least 1-u, which spares nearly all logarithms.
		if rest*s.inverse >= least {
			continue
		}
		score := rest * s.inverse
		if !p.equal {
			score = -math.Log1p(-rest) * s.inverse
		}
		if score < least && f.takes(&p.members[i]) {
			first, least = &p.members[i], score
		}
	}
	return first
}
