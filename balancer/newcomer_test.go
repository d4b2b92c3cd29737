package balancer_test

import (
	"container/heap"
	"math/rand/v2"
	"testing"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

// simulation is a fleet under calls that come and end by chance, in virtual
// time, through the code that serves real ones.
type simulation struct {
	*fleet
	rnd  *rand.Rand
	now  float64
	rate float64 // calls per unit of time
	// slow multiplies the mean duration of a call, which is 1.
	slow map[*endpoint.Endpoint]float64
	ends ends
}

type end struct {
	at float64
	ep *endpoint.Endpoint
}

type ends []end

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at < e[j].at }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(v any)        { *e = append(*e, v.(end)) }
func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newSimulation(n int, perEndpoint float64, seed uint64) *simulation {
	return &simulation{
		fleet: newFleet(n, nil), rnd: rand.New(rand.NewPCG(seed, 17)), rate: perEndpoint * float64(n),
		slow: map[*endpoint.Endpoint]float64{},
	}
}

// run makes calls with pick and returns how many went to ep.
func (s *simulation) run(calls int, pick pickFunc, ep *endpoint.Endpoint) (n int) {
	for range calls {
		s.now += s.rnd.ExpFloat64() / s.rate
		for len(s.ends) > 0 && s.ends[0].at <= s.now {
			s.controls[heap.Pop(&s.ends).(end).ep].End()
		}
		to := pick(s.fleet, s.rnd)
		if to == ep {
			n++
		}
		s.controls[to].Begin()
		duration := s.rnd.ExpFloat64()
		if f, ok := s.slow[to]; ok {
			duration *= f
		}
		heap.Push(&s.ends, end{s.now + duration, to})
	}
	return n
}

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
