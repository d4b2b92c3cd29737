// Chance without concurrency: the race detector would only take its time.

//go:build !race

package balancer_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/xxh64"
)

// The models below follow the papers word for word and are slow.

// ringModel is who has a key on a ring in which each endpoint has as many
// points as said.
func ringModel(eps []*endpoint.Endpoint, points []int) func(hash uint64) *endpoint.Endpoint {
	places := make([][]uint64, len(eps))
	for i, ep := range eps {
		for k := range points[i] {
			places[i] = append(places[i], xxh64.Sum(fmt.Sprintf("%s_%d", ep.Addr(), k), 0))
		}
	}
	return func(hash uint64) (owner *endpoint.Endpoint) {
		nearest := uint64(math.MaxUint64)
		for i, ep := range eps {
			for _, place := range places[i] {
				// Going up from hash and around, so many steps to the point.
				if d := place - hash; d <= nearest {
					nearest, owner = d, ep
				}
			}
		}
		return owner
	}
}

func TestRingIsAsItsModel(t *testing.T) {
	check := func(p balancer.RingHash, ws []uint32, points []int) (differ int) {
		f := newFleet(len(ws), weights(ws...))
		picker, model := p.New(balancer.Env{}).Update(f.eps), ringModel(f.eps, points)
		for i := range 500 {
			if picker.Pick(balancer.Query{Hash: keyHash(i), HasHash: true}) != model(keyHash(i)) {
				differ++
			}
		}
		return differ
	}
	differ := 0
	for _, c := range []struct {
		p      balancer.RingHash
		ws     []uint32
		points []int // counted by hand
	}{
		{balancer.RingHash{}, []uint32{1}, []int{1024}},
		{balancer.RingHash{}, []uint32{7, 7, 7}, []int{342, 342, 342}},
		{balancer.RingHash{}, []uint32{1, 3}, []int{256, 768}},
		{balancer.RingHash{MinSize: 10}, []uint32{2, 3}, []int{4, 6}},
		{balancer.RingHash{MinSize: 10}, []uint32{2, 3, 2}, []int{3, 5, 3}}, // 3, 4.5 and 3, summed and rounded up
		{balancer.RingHash{MinSize: 10, MaxSize: 10}, []uint32{1, 1, 1}, []int{4, 3, 3}},
		{balancer.RingHash{MinSize: 2, MaxSize: 2}, []uint32{1, 1, 1, 1}, []int{1, 1, 1, 1}},
		{balancer.RingHash{MaxSize: 1024}, []uint32{math.MaxUint32, 1}, []int{1024, 1}},
		{balancer.RingHash{}, []uint32{math.MaxUint32, math.MaxUint32}, []int{512, 512}},
	} {
		if n := check(c.p, c.ws, c.points); n > 0 {
			t.Errorf("%+v, weights %v: %d of 500 keys elsewhere than in the model", c.p, c.ws, n)
		}
		// Negative control: the last has twice as many points.
		more := slices.Clone(c.points)
		more[len(more)-1] *= 2
		differ += check(c.p, c.ws, more)
	}
	if differ < 100 {
		t.Errorf("other points make %d differences only", differ)
	}
}

// maglevModel fills the table as the paper says, endpoints taking turns.
// With weights, an endpoint is passed over in a turn in which it would come
// to have more than its part of what the heaviest has.
func maglevModel(eps []*endpoint.Endpoint, size uint64) []*endpoint.Endpoint {
	table, next, taken := make([]*endpoint.Endpoint, size), make([]uint64, len(eps)), make([]uint64, len(eps))
	var heaviest uint64
	for _, ep := range eps {
		heaviest = max(heaviest, uint64(ep.Weight()))
	}
	for filled, turn := uint64(0), uint64(0); ; turn++ {
		for i, ep := range eps {
			if taken[i]*heaviest > turn*uint64(ep.Weight()) {
				continue
			}
			offset, skip := xxh64.Sum(ep.Addr(), 0)%size, xxh64.Sum(ep.Addr(), 1)%(size-1)+1
			c := (offset + next[i]*skip) % size
			for table[c] != nil {
				next[i]++
				c = (offset + next[i]*skip) % size
			}
			table[c] = ep
			next[i]++
			taken[i]++
			if filled++; filled == size {
				return table
			}
		}
	}
}

func TestMaglevIsAsItsModel(t *testing.T) {
	for _, size := range []int{2, 7, 251, 65537} {
		for _, ws := range [][]uint32{{1}, {4, 4, 4}, {1, 2, 3, 4, 5}, {1000, 1, 1, 30}, {math.MaxUint32, 1}} {
			f := newFleet(len(ws), weights(ws...))
			picker := balancer.Maglev{TableSize: size}.New(balancer.Env{}).Update(f.eps)
			for place, want := range maglevModel(f.eps, uint64(size)) {
				if got := picker.Pick(balancer.Query{Hash: uint64(place + size), HasHash: true}); got != want {
					t.Fatalf("size %d, weights %v: place %d is of %s, want %s", size, ws, place, got.Addr(), want.Addr())
				}
			}
		}
	}
}

// Among equal weights the rank of rendezvous hashing is that of the plain
// hash: who is first does not depend on the logarithm.
func TestRendezvousOfEqualsIsPlain(t *testing.T) {
	f, g := newFleet(20, nil), newFleet(20, func(int) uint32 { return 1 << 20 })
	a, b := owners(balancer.Rendezvous{}, f.eps, 5000), owners(balancer.Rendezvous{}, g.eps, 5000)
	if !slices.Equal(a, b) {
		t.Error("equal weights choose by their size")
	}
	// Negative control.
	h := newFleet(20, func(i int) uint32 { return uint32(1 + i%2) })
	if slices.Equal(a, owners(balancer.Rendezvous{}, h.eps, 5000)) {
		t.Error("weights make no difference")
	}
}

// A picker is built anew only if something about it is new.
func TestHashingKeepsItsPicker(t *testing.T) {
	for name, p := range hashing {
		f := newFleet(5, nil)
		b := p.New(balancer.Env{})
		first := b.Update(f.eps)
		if b.Update(slices.Clone(f.eps)) != first {
			t.Errorf("%s: built anew for the same set", name)
		}
		if b.Update(f.eps[:4]) == first {
			t.Errorf("%s: kept for another set", name)
		}
		again := b.Update(f.eps)
		f.controls[f.eps[2]].SetInfo(endpoint.Info{Weight: 9}, simulated)
		if b.Update(f.eps) == again {
			t.Errorf("%s: kept for other weights", name)
		}
	}
}
