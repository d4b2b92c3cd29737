//go:build !race

package balancer_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// weighed returns how many times its part by weight each endpoint has of calls
// that come at a rate in a unit of time, while it says the truth of what it has
// to do.
func weighed(t *testing.T, p balancer.Policy, rate float64, weights ...uint32) (parts []float64) {
	// In a bubble what is left to chance is the same each time, for the clock is.
	synctest.Test(t, func(*testing.T) { parts = weighedNow(p, rate, weights...) })
	return parts
}

func weighedNow(p balancer.Policy, rate float64, weights ...uint32) []float64 {
	const calls = 20000
	s := newSimulation(len(weights), 1, 3)
	s.fleet, s.rate = newFleet(len(weights), func(i int) uint32 { return weights[i] }), rate
	b := p.New(balancer.Env{})
	picker := b.Update(s.eps)
	s.observe = func(ep *endpoint.Endpoint, r outcome.Result) {
		s.controls[ep].Report(report(float64(ep.InFlight()), 4, unit), r.At)
		r.Reported = true
		b.(balancer.Observer).Observe(ep, r)
	}
	pick := func(_ *fleet, rnd *rand.Rand) *endpoint.Endpoint {
		return picker.Pick(balancer.Query{Draw: rnd.Uint64(), Attempt: 1, Now: clock(s.now)})
	}
	s.run(1000, pick, nil)
	picks := s.shares(calls, pick)
	total := 0.0
	for _, w := range weights {
		total += float64(w)
	}
	parts := make([]float64, len(weights))
	for i, ep := range s.eps {
		parts[i] = float64(picks[ep]) / calls * total / float64(weights[i])
	}
	return parts
}

// the rates, of which the first is a call in 10 s.
const rarely, seldom, little, much = .001, .1, 1, 20

// However much there is to do, an endpoint of little weight has no more than a
// few times its part of the calls, and does not go without.
func TestLoadFedKeepsToWeights(t *testing.T) {
	many := []uint32{1, 100, 100, 100, 100, 100, 100, 100, 100, 100}
	for _, weights := range [][]uint32{{1, 3}, {1, 1000}, {1, 1, 98}, {1, 2, 3, 4, 5, 6, 7, 8}, many} {
		for _, rate := range []float64{rarely, seldom, little, much} {
			parts := weighed(t, balancer.LoadFed{}, rate, weights...)
			for i, part := range parts {
				assert.Less(t, part, 4.0, "%v of %v at %v: %.2f", weights[i], weights, rate, parts)
				assert.Greater(t, part, .15, "%v of %v at %v: %.2f", weights[i], weights, rate, parts)
			}
		}
	}
	// Control: nobody looks for what has no token.
	assert.Less(t, weighed(t, balancer.LoadFed{Exploration: -1}, seldom, many...)[0], .1)
}

// That an average is old draws no calls to who is to have few of them.
func TestPeakEWMAKeepsToWeightsWhereCallsAreRare(t *testing.T) {
	for _, weights := range [][]uint32{{1, 1000}, {1, 1, 98}, {1, 2, 3, 4}} {
		for i, part := range weighed(t, balancer.PeakEWMA{}, rarely, weights...) {
			assert.InDelta(t, 1, part, .4, "%v of %v", weights[i], weights)
		}
	}
}
