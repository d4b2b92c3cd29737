// Chance without concurrency: the race detector would only take its time.

//go:build !race

package balancer_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

// join adds an endpoint that has nothing in flight.
func (s *simulation) join() *endpoint.Endpoint {
	f := newFleet(len(s.eps)+1, nil)
	ep := f.eps[len(f.eps)-1]
	s.eps = append(s.eps, ep)
	s.controls[ep] = f.controls[ep]
	return ep
}

// newcomers lets an idle endpoint join 50 busy ones in each of many seeded
// runs and returns how many of the next 50 picks go to it, on average.
func newcomers(pick func(*fleet) pickFunc) float64 {
	const seeds, n = 200, 50
	total := 0
	for seed := range uint64(seeds) {
		s := newSimulation(n-1, 10, seed)
		s.run(1200, pick(s.fleet), nil)
		ep := s.join()
		total += s.run(n, pick(s.fleet), ep)
	}
	return float64(total) / seeds
}

// An idle newcomer among busy endpoints gets no more than Choices times its
// fair share, which is one pick here, and no less than half of it.
func TestLeastRequestDoesNotFloodANewcomer(t *testing.T) {
	for _, choices := range []int{2, 5} {
		got := newcomers(func(f *fleet) pickFunc { return real(balancer.LeastRequest{Choices: choices}, f) })
		t.Logf("%d choices: %.2f of 50 picks", choices, got)
		// The mean of 200 runs of about 2 picks has a deviation of 0.1.
		if got > float64(choices)+0.4 || got < 0.5 {
			t.Errorf("%d choices: %.2f picks where one is fair", choices, got)
		}
	}
	// Negative control: the least of all sends the newcomer nearly every
	// call until it is as busy as the others.
	got := newcomers(func(*fleet) pickFunc { return fullScan })
	t.Logf("full scan: %.2f of 50 picks", got)
	if got <= 5 {
		t.Errorf("full scan: %.2f picks only", got)
	}
}

// A slow endpoint gets less, and round robin shows that it would not.
func TestLeastRequestTurnsAwayFromASlowEndpoint(t *testing.T) {
	share := func(p balancer.Policy) float64 {
		s := newSimulation(10, 5, 1)
		s.slow[s.eps[3]] = 10
		pick := real(p, s.fleet)
		s.run(2000, pick, nil)
		return float64(s.run(20000, pick, s.eps[3])) / 2000
	}
	if got := share(balancer.LeastRequest{}); got > 0.5 {
		t.Errorf("ten times slower, yet %.2f of the fair share", got)
	}
	if got := share(balancer.RoundRobin{}); got < 0.9 {
		t.Errorf("round robin gives a slow endpoint %.2f of its share", got)
	}
}

// PeakEWMA knows nothing of a newcomer, which must neither draw all calls to
// it nor keep them away.
func TestPeakEWMADoesNotFloodANewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seeds, n = 200, 50
		total := 0
		for seed := range uint64(seeds) {
			s := newSimulation(n-1, 10, seed)
			b := balancer.PeakEWMA{}.New(balancer.Env{})
			s.observe = b.(balancer.Observer).Observe
			with := func(picker balancer.Picker) pickFunc {
				return func(_ *fleet, rnd *rand.Rand) *endpoint.Endpoint {
					return picker.Pick(balancer.Query{Draw: rnd.Uint64(), Now: clock(s.now)})
				}
			}
			s.run(1200, with(b.Update(s.eps)), nil)
			ep := s.join()
			total += s.run(n, with(b.Update(s.eps)), ep)
		}
		got := float64(total) / seeds
		t.Logf("%.2f of 50 picks", got)
		if got > 2.4 || got < 0.5 {
			t.Errorf("%.2f picks where one is fair", got)
		}
	})
}
