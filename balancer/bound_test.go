//go:build !race

package balancer_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

// bounded returns the policies of hashing with a bound.
func bounded(bound float64) map[string]balancer.Policy {
	return map[string]balancer.Policy{
		"ring hash": balancer.RingHash{Bound: bound}, "Maglev": balancer.Maglev{Bound: bound}, "rendezvous": balancer.Rendezvous{Bound: bound},
	}
}

// hot is traffic of which half has one key and the rest many. It returns by
// how many calls an endpoint has come to exceed its part of those in flight,
// times the bound and rounded up, at most, and which part of the many keys'
// calls went to where they go when nothing else does.
func hot(p balancer.Policy, n int, ws func(int) uint32, bound float64) (over, home float64) {
	s := newSimulation(n, 5, 3)
	s.fleet = newFleet(n, ws)
	idle := newFleet(n, ws)
	picker, alone := p.New(balancer.Env{}).Update(s.eps), p.New(balancer.Env{}).Update(idle.eps)
	var weight, calls float64
	for _, ep := range s.eps {
		weight += float64(ep.Weight())
	}
	s.run(6000, func(f *fleet, rnd *rand.Rand) *endpoint.Endpoint {
		q := balancer.Query{Draw: rnd.Uint64(), Attempt: 1, Hash: keyHash(0), HasHash: true, Now: clock(s.now)}
		rare := rnd.IntN(2) == 0
		if rare {
			q.Hash = keyHash(1 + rnd.IntN(100000))
		}
		ep := picker.Pick(q)
		if rare {
			calls++
			if alone.Pick(q).Addr() == ep.Addr() {
				home++
			}
		}
		total := 1.0
		for _, ep := range f.eps {
			total += float64(ep.InFlight())
		}
		part := math.Ceil(bound * total * float64(ep.Weight()) / weight)
		over = max(over, float64(ep.InFlight()+1)-part)
		return ep
	}, nil)
	return over, home / calls
}

func TestBoundHoldsForAHotKey(t *testing.T) {
	for _, bound := range []float64{1, 1.25, 2} {
		for _, ws := range []func(int) uint32{nil, func(i int) uint32 { return uint32(1 + i%3) }} {
			for name, p := range bounded(bound) {
				// Up to 16 endpoints each pick counts, then it is by chance,
				// which lets the hot one have a little more.
				for n, most := range map[int]float64{3: 0, 16: 0, 60: 6} {
					over, home := hot(p, n, ws, bound)
					t.Logf("%s, bound %v, %d endpoints: %v over, %.2f at home", name, bound, n, over, home)
					if over > most {
						t.Errorf("%s, bound %v, %d endpoints: %v over", name, bound, n, over)
					}
					// Keys still stick as far as the bound lets them.
					if least := map[float64]float64{1: 2.5 / float64(n), 1.25: 0.4, 2: 0.7}[bound]; n > 3 && home < least {
						t.Errorf("%s, bound %v, %d endpoints: %.2f at home only", name, bound, n, home)
					}
				}
			}
		}
	}
	// Negative control: no bound.
	for name, p := range hashing {
		if over, _ := hot(p, 16, nil, 2); over <= 6 {
			t.Errorf("%s without a bound is %v over", name, over)
		}
	}
}

// What a full endpoint may not take goes where it would go if that had been
// tried: the next in the order of the key.
func TestBoundGoesOnInOrder(t *testing.T) {
	for name, p := range bounded(1.25) {
		f := newFleet(10, nil)
		picker := p.New(balancer.Env{}).Update(f.eps)
		moved := 0
		for i := range 200 {
			q := balancer.Query{Hash: keyHash(i), HasHash: true, Draw: uint64(i)}
			first := picker.Pick(q)
			q.Avoid = []*endpoint.Endpoint{first}
			second := picker.Pick(q)
			q.Avoid = nil
			f.controls[first].Begin()
			f.controls[first].Begin()
			if got := picker.Pick(q); got == second {
				moved++
			}
			// The least bad of two: what is full rather than what was tried.
			q.Avoid = f.eps
			if picker.Pick(q) == nil {
				t.Fatalf("%s: nothing", name)
			}
			f.controls[second].Begin()
			f.controls[second].Begin()
			q.Avoid = nil
			for _, ep := range f.eps {
				if ep != second {
					q.Avoid = append(q.Avoid, ep)
				}
			}
			if got := picker.Pick(q); got != second {
				t.Fatalf("%s: took what was tried and not what is full", name)
			}
			for range 2 {
				f.controls[first].End()
				f.controls[second].End()
			}
		}
		if moved != 200 {
			t.Errorf("%s: %d of 200 went to the next", name, moved)
		}
	}
	// Negative control: without a bound none moves.
	for name, p := range hashing {
		f := newFleet(10, nil)
		picker := p.New(balancer.Env{}).Update(f.eps)
		q := balancer.Query{Hash: 1, HasHash: true}
		first := picker.Pick(q)
		for range 100 {
			f.controls[first].Begin()
		}
		if picker.Pick(q) != first {
			t.Errorf("%s moves without a bound", name)
		}
	}
}

// The owner of a key is taken exactly as long as the call fits.
func TestBoundIsExactAmongFew(t *testing.T) {
	const n = 8
	rnd := rand.New(rand.NewPCG(5, 5))
	for _, bound := range []float64{1, 1.25, 1.5} {
		ws := func(i int) uint32 { return uint32(1 + i%2) } // 12 in all
		for name, p := range bounded(bound) {
			taken := 0
			f := newFleet(n, ws)
			picker := p.New(balancer.Env{}).Update(f.eps)
			for i := range 300 {
				q := balancer.Query{Hash: keyHash(i), HasHash: true}
				f.idle()
				owner := picker.Pick(q)
				f.busy(func(int) int { return rnd.IntN(4) })
				total := 0.0
				for _, ep := range f.eps {
					total += float64(ep.InFlight())
				}
				fits := float64(owner.InFlight())+1 <= math.Ceil(bound*float64(owner.Weight())*(total+1)/12)
				if got := picker.Pick(q) == owner; got != fits {
					t.Fatalf("%s, bound %v: %d of %v in flight, taken: %v", name, bound, owner.InFlight(), total, got)
				}
				if fits {
					taken++
				}
			}
			if taken < 50 || taken > 280 {
				t.Errorf("%s, bound %v: taken %d times of 300, which tests little", name, bound, taken)
			}
		}
	}
}

// Among many endpoints a count that is old is not believed.
func TestBoundCountsAgain(t *testing.T) {
	const n = 1000
	for name, p := range bounded(1.25) {
		stale := 0
		f := newFleet(n, nil)
		picker := p.New(balancer.Env{}).Update(f.eps)
		for i := range 100 {
			from := simulated.Add(time.Duration(i) * time.Minute)
			q := balancer.Query{Hash: keyHash(i), HasHash: true, Now: from}
			f.idle()
			owner := picker.Pick(q)
			f.busy(func(int) int { return 2 })
			if picker.Pick(q) != owner {
				t.Fatalf("%s: no room for 3 where 2 is the mean", name)
			}
			for _, ep := range f.eps {
				if ep != owner {
					f.controls[ep].End()
					f.controls[ep].End()
				}
			}
			q.Draw, q.Now = uint64(i), from.Add(time.Millisecond)
			if picker.Pick(q) == owner {
				stale++
			}
			q.Now = from.Add(11 * time.Millisecond)
			if picker.Pick(q) == owner {
				t.Fatalf("%s: 3 in flight where there are 2 in all", name)
			}
		}
		// Negative control: soon after, the old count is believed.
		if stale < 90 {
			t.Errorf("%s: counted anew in %d of 100 picks, so that nothing was tested", name, 100-stale)
		}
	}
}
