package balancer

import (
	"math/bits"

	"github.com/tulle-mesh/tulle/endpoint"
)

// member is an endpoint with its weight as it was when the Picker was made.
type member struct {
	ep     *endpoint.Endpoint
	weight uint32
}

func members(eps []*endpoint.Endpoint) []member {
	ms := make([]member, len(eps))
	for i, ep := range eps {
		ms[i] = member{ep, ep.Weight()}
	}
	return ms
}

// other returns a member that the query does not avoid, by chance and in
// proportion to the weights, or nil if there is none. It looks at all
// members, so it is for the rare case that drawing has found none.
func other(ms []member, q *Query) *endpoint.Endpoint {
	if i := otherIndex(ms, q); i >= 0 {
		return ms[i].ep
	}
	return nil
}

// otherIndex is other for an index, -1 if there is none.
func otherIndex(ms []member, q *Query) int {
	var total uint64
	for i := range ms {
		if !q.Avoids(ms[i].ep) {
			total += uint64(ms[i].weight)
		}
	}
	r := random{q.Draw}
	left := r.below(total)
	for i := range ms {
		if q.Avoids(ms[i].ep) {
			continue
		}
		if w := uint64(ms[i].weight); left >= w {
			left -= w
			continue
		}
		return i
	}
	return -1
}

// random makes many words of the one that a query brings: the SplitMix64
// generator of Steele, Lea and Flood ("Fast Splittable Pseudorandom Number
// Generators", 2014).
type random struct{ state uint64 }

func (r *random) word() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number less than n, or 0 if n is 0. The numbers are equally
// likely but for n parts in 2⁶⁴.
func (r *random) below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.word(), n)
	return hi
}
