package balancer_test

import (
	"math/rand/v2"
	"testing"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

func TestRandomFollowsWeights(t *testing.T) {
	for _, ws := range [][]uint32{{1, 1, 1, 1}, {1, 3}, {1, 2, 3, 4, 5, 5, 4, 3, 2, 1}, {1000, 1, 1, 1, 500, 1, 1, 1, 1, 100}} {
		// Load makes no difference.
		f := newFleet(len(ws), weights(ws...)).busy(func(i int) int { return 7 * i })
		if x := chiSquare(f.count(real(balancer.Random{}, f), 5, 100000), ws); x > 27.9 { // p ≤ 0.001
			t.Errorf("%v: χ² %.1f", ws, x)
		}
		// Negative control: a policy that looks at load.
		if chiSquare(f.count(real(balancer.LeastRequest{}, f), 5, 100000), ws) <= 27.9 {
			t.Errorf("%v: shares by load pass for those by weight", ws)
		}
	}
}

// What is left when some are avoided keeps its proportions.
func TestRandomAvoidsInProportion(t *testing.T) {
	ws := []uint32{50, 4, 3, 2, 1, 40}
	f := newFleet(len(ws), weights(ws...))
	picker := balancer.Random{}.New(balancer.Env{}).Update(f.eps)
	avoid := []*endpoint.Endpoint{f.eps[0], f.eps[5]}
	shares := func(pick func(q balancer.Query) *endpoint.Endpoint) float64 {
		counts := f.count(func(_ *fleet, rnd *rand.Rand) *endpoint.Endpoint {
			return pick(balancer.Query{Draw: rnd.Uint64(), Avoid: avoid})
		}, 6, 50000)
		if counts[0]+counts[5] > 0 {
			t.Errorf("took what is to be avoided: %v", counts)
		}
		return chiSquare(counts[1:5], ws[1:5])
	}
	if x := shares(picker.Pick); x > 16.3 { // 3 degrees of freedom, p = 0.001
		t.Errorf("χ² %.1f", x)
	}
	// Negative control: the next in line takes the turns of what is avoided.
	x := shares(func(q balancer.Query) *endpoint.Endpoint {
		ep := picker.Pick(balancer.Query{Draw: q.Draw})
		if q.Avoids(ep) {
			ep = f.eps[1]
		}
		return ep
	})
	if x <= 16.3 {
		t.Errorf("χ² %.1f where one inherits all", x)
	}
}
