package balancer_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

// pickFunc picks from a fleet whose calls in flight are as they are.
type pickFunc func(f *fleet, rnd *rand.Rand) *endpoint.Endpoint

func real(p balancer.Policy, f *fleet) pickFunc {
	picker := p.New(balancer.Env{}).Update(f.eps)
	return func(_ *fleet, rnd *rand.Rand) *endpoint.Endpoint {
		return picker.Pick(balancer.Query{Draw: rnd.Uint64(), Attempt: 1})
	}
}

// independent is a choice of k that may draw one endpoint twice.
func independent(k int) pickFunc {
	return func(f *fleet, rnd *rand.Rand) *endpoint.Endpoint {
		best := f.eps[rnd.IntN(len(f.eps))]
		for range k - 1 {
			if ep := f.eps[rnd.IntN(len(f.eps))]; ep.InFlight() < best.InFlight() {
				best = ep
			}
		}
		return best
	}
}

// fullScan is the least of all, ties broken by chance.
func fullScan(f *fleet, rnd *rand.Rand) *endpoint.Endpoint {
	from := rnd.IntN(len(f.eps))
	best := f.eps[from]
	for i := range f.eps {
		if ep := f.eps[(from+i)%len(f.eps)]; ep.InFlight() < best.InFlight() {
			best = ep
		}
	}
	return best
}

func (f *fleet) count(pick pickFunc, seed uint64, picks int) []int {
	rnd := rand.New(rand.NewPCG(seed, 11))
	index := map[*endpoint.Endpoint]int{}
	for i, ep := range f.eps {
		index[ep] = i
	}
	counts := make([]int, len(f.eps))
	for range picks {
		counts[index[pick(f, rnd)]]++
	}
	return counts
}

// busy puts calls in flight: those of load(i) at endpoint i.
func (f *fleet) busy(load func(i int) int) *fleet {
	for i, ep := range f.eps {
		for range load(i) {
			f.controls[ep].Begin()
		}
	}
	return f
}

// idle ends all calls.
func (f *fleet) idle() {
	for _, ep := range f.eps {
		for ep.InFlight() > 0 {
			f.controls[ep].End()
		}
	}
}

// within allows four standard deviations of a binomial count.
func within(got, n int, p float64) bool {
	return math.Abs(float64(got)-float64(n)*p) <= 4*math.Sqrt(float64(n)*p*(1-p))
}

func TestLeastRequestIsUniformAtEqualLoad(t *testing.T) {
	for _, choices := range []int{0, 2, 3, 10} {
		for _, load := range []int{0, 5} {
			f := newFleet(10, nil).busy(func(int) int { return load })
			counts := f.count(real(balancer.LeastRequest{Choices: choices}, f), 1, 20000)
			if x := chiSquare(counts, nil); x > 27.9 { // 9 degrees of freedom, p = 0.001
				t.Errorf("%d choices, load %d: %v, χ² %.1f", choices, load, counts, x)
			}
		}
	}
}

// Negative control: ties that go to the one listed first.
func TestChiSquareNoticesUnfairTies(t *testing.T) {
	f := newFleet(10, nil)
	counts := f.count(func(f *fleet, rnd *rand.Rand) *endpoint.Endpoint {
		i, j := rnd.IntN(10), rnd.IntN(10)
		return f.eps[min(i, j)]
	}, 1, 20000)
	if chiSquare(counts, nil) <= 27.9 {
		t.Error("ties that go to the lower index pass for fair")
	}
}

func TestLeastRequestFollowsWeightsWhenIdle(t *testing.T) {
	for _, ws := range [][]uint32{{1, 3}, {1, 2, 3, 4, 5, 5, 4, 3, 2, 1}, {1000, 1, 1, 1, 500, 1, 1, 1, 1, 100}} {
		f := newFleet(len(ws), weights(ws...))
		counts := f.count(real(balancer.LeastRequest{}, f), 2, 100000)
		if x := chiSquare(counts, ws); x > 27.9 {
			t.Errorf("%v: %v, χ² %.1f", ws, counts, x)
		}
		// Negative control: blind to weights.
		counts = f.count(independent(2), 2, 100000)
		if chiSquare(counts, ws) <= 27.9 {
			t.Errorf("%v: equal shares pass for weighted ones", ws)
		}
	}
}

// A heavy endpoint that is busier for its weight only by less than the call
// would make the light one keeps its share.
func TestLeastRequestFollowsWeightsWithFewInFlight(t *testing.T) {
	const picks = 20000
	f := newFleet(2, weights(1, 9)).busy(func(i int) int { return 5 * i })
	if counts := f.count(real(balancer.LeastRequest{}, f), 4, picks); !within(counts[0], picks, 0.1) {
		t.Errorf("the light one was taken %d times in %d", counts[0], picks)
	}
	f.busy(func(i int) int { return 5 * i })
	if counts := f.count(real(balancer.LeastRequest{}, f), 4, picks); counts[1] > 0 {
		t.Errorf("the heavy one was taken %d times with ten calls in flight, the light one having none", counts[1])
	}
}

// Of two endpoints the two draws are both, so that the busy one is never
// taken; of four, three draws miss the one idle in a quarter of the picks.
func TestLeastRequestDrawsDifferentEndpoints(t *testing.T) {
	const picks = 20000
	two := newFleet(2, nil).busy(func(i int) int { return 1 - i })
	if counts := two.count(real(balancer.LeastRequest{}, two), 3, picks); counts[0] > 0 {
		t.Errorf("the busy one of two was taken %d times", counts[0])
	}
	four := newFleet(4, nil).busy(func(i int) int { return min(i, 1) })
	if counts := four.count(real(balancer.LeastRequest{Choices: 3}, four), 3, picks); !within(counts[0], picks, 0.75) {
		t.Errorf("the idle one of four was taken %d times in %d", counts[0], picks)
	}
	ten := newFleet(10, nil).busy(func(i int) int { return 9 - i })
	if counts := ten.count(real(balancer.LeastRequest{Choices: 10}, ten), 3, picks); counts[9] != picks {
		t.Errorf("ten draws of ten: %v", counts)
	}
	// Negative control: draws that do not look at each other.
	if counts := two.count(independent(2), 3, picks); counts[0] == 0 {
		t.Error("independent draws pass for different ones")
	}
	if counts := four.count(independent(3), 3, picks); within(counts[0], picks, 0.75) {
		t.Error("independent draws of four pass for different ones")
	}
}

// pile puts calls in flight one after the other and ends none.
func (f *fleet) pile(pick pickFunc, seed uint64, calls int) (most float64) {
	rnd := rand.New(rand.NewPCG(seed, 13))
	for range calls {
		f.controls[pick(f, rnd)].Begin()
	}
	for _, ep := range f.eps {
		most = max(most, float64(ep.InFlight())/float64(ep.Weight()))
	}
	return most
}

func TestLeastRequestKeepsLoadLevel(t *testing.T) {
	for seed := range uint64(10) {
		f := newFleet(100, nil)
		if most := f.pile(real(balancer.LeastRequest{}, f), seed, 1000); most > 13 {
			t.Errorf("seed %d: %v in flight at one where 10 is the mean", seed, most)
		}
		// Negative control: one choice.
		f = newFleet(100, nil)
		if most := f.pile(independent(1), seed, 1000); most <= 13 {
			t.Errorf("seed %d: chance alone has %v at most", seed, most)
		}
	}
}

func TestLeastRequestKeepsLoadLevelByWeight(t *testing.T) {
	weight := func(i int) uint32 { return uint32(1 + i%4) }
	for seed := range uint64(10) {
		f := newFleet(40, weight)
		if most := f.pile(real(balancer.LeastRequest{}, f), seed, 1000); most > 14 {
			t.Errorf("seed %d: %v in flight for each weight at one where 10 is the mean", seed, most)
		}
		// Negative control: blind to weights.
		f = newFleet(40, weight)
		if most := f.pile(independent(2), seed, 1000); most <= 14 {
			t.Errorf("seed %d: blind to weights there are %v at most", seed, most)
		}
	}
}

func TestLeastRequestValidate(t *testing.T) {
	for choices, valid := range map[int]bool{-1: false, 0: true, 1: false, 2: true, 10: true, 11: false} {
		err := balancer.LeastRequest{Choices: choices}.Validate()
		if (err == nil) != valid || err != nil && !strings.HasPrefix(err.Error(), "choices: ") {
			t.Errorf("%d: %v", choices, err)
		}
	}
}
