package balancer_test

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
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
	// failing endpoints fail each call, silent ones never answer.
	failing, silent map[*endpoint.Endpoint]bool
	// observe is told of results.
	observe func(*endpoint.Endpoint, outcome.Result)
	ends    ends
}

// unit is what a unit of time is on the clock.
const unit = 10 * time.Millisecond

const ms = time.Millisecond

// simulated is the beginning, which comes after that of any Balancer.
var simulated = time.Now().Add(time.Minute)

type end struct {
	at, start float64
	ep        *endpoint.Endpoint
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
		slow: map[*endpoint.Endpoint]float64{}, failing: map[*endpoint.Endpoint]bool{}, silent: map[*endpoint.Endpoint]bool{},
	}
}

// use returns a pick by p that knows the time, and tells p of results.
func (s *simulation) use(p balancer.Policy) pickFunc {
	b := p.New(balancer.Env{})
	picker := b.Update(s.eps)
	if o, ok := b.(balancer.Observer); ok {
		s.observe = o.Observe
	}
	return func(_ *fleet, rnd *rand.Rand) *endpoint.Endpoint {
		return picker.Pick(balancer.Query{Draw: rnd.Uint64(), Attempt: 1, Now: clock(s.now)})
	}
}

func clock(at float64) time.Time { return simulated.Add(time.Duration(at * float64(unit))) }

// run makes calls with pick and returns how many went to ep.
func (s *simulation) run(calls int, pick pickFunc, ep *endpoint.Endpoint) int {
	return s.shares(calls, pick)[ep]
}

// shares makes calls with pick and returns how many went where.
func (s *simulation) shares(calls int, pick pickFunc) map[*endpoint.Endpoint]int {
	picks := map[*endpoint.Endpoint]int{}
	for range calls {
		s.now += s.rnd.ExpFloat64() / s.rate
		for len(s.ends) > 0 && s.ends[0].at <= s.now {
			s.end(heap.Pop(&s.ends).(end))
		}
		to := pick(s.fleet, s.rnd)
		picks[to]++
		s.controls[to].Begin()
		duration := s.rnd.ExpFloat64()
		if f, ok := s.slow[to]; ok {
			duration *= f
		}
		if !s.silent[to] {
			heap.Push(&s.ends, end{s.now + duration, s.now, to})
		}
	}
	return picks
}

func (s *simulation) end(e end) {
	s.controls[e.ep].End()
	if s.observe == nil {
		return
	}
	class := outcome.Success
	if s.failing[e.ep] {
		class = outcome.Gateway
	}
	at := clock(e.at)
	s.observe(e.ep, outcome.Result{Outcome: outcome.Outcome{Class: class}, At: at, Latency: at.Sub(clock(e.start))})
}
