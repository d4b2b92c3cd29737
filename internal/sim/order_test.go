//go:build !race

// These are many events in one goroutine: the race detector finds nothing in
// them that the other tests do not show it, and takes ten times as long.

package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/internal/sim"
)

// uneven is a fleet of which one half is slower, and all of which have times
// in which they are slower still.
func uneven(servers int) []sim.Server {
	all := sim.Servers(servers, sim.Server{
		Sharing: true, Spells: sim.Spells{Mean: time.Second, Gap: 5 * time.Second, Low: .4, High: .9},
	})
	for i := range servers / 2 {
		all[i].Speed = .6
	}
	return all
}

// tail returns the 99th percentile of the latencies, and the mean.
func tail(t *testing.T, c sim.Chooser, callers int, servers []sim.Server) (p99, mean time.Duration) {
	t.Helper()
	s := sim.Scenario{
		Seed: 11, Servers: servers, Callers: callers, Load: .7, Work: sim.Work{Sigma: .83}, Chooser: c, Measure: 4 * time.Second,
	}
	r := s.Run(t)
	t.Logf("%v %T", r, c)
	return r.P99, r.Mean
}

// The policies stand in the order in which other models of such fleets have
// them, and what callers see for themselves says less the less each calls.
func TestOrderOfPolicies(t *testing.T) {
	t.Log(sim.Head)
	best, _ := tail(t, sim.Central{}, 200, uneven(20))
	two, _ := tail(t, sim.Central{Choices: 2}, 200, uneven(20))
	chance, chanceMean := tail(t, sim.Balanced{Policy: balancer.Random{}}, 200, uneven(20))
	turns, _ := tail(t, sim.Balanced{Policy: balancer.RoundRobin{}}, 200, uneven(20))
	least, _ := tail(t, sim.Balanced{Policy: balancer.LeastRequest{}}, 200, uneven(20))
	peak, _ := tail(t, sim.Balanced{Policy: balancer.PeakEWMA{}}, 200, uneven(20))
	_, pinnedMean := tail(t, sim.Pinned{}, 200, uneven(20))
	assert.Less(t, best, two)
	assert.Less(t, two, peak)
	assert.Less(t, peak, least)
	assert.Less(t, least, chance)
	assert.Greater(t, float64(pinnedMean), 1.2*float64(chanceMean))
	assert.InEpsilon(t, chance, turns, .3)
	assert.Less(t, float64(two), 1.6*float64(best))
	assert.Greater(t, float64(least), 5*float64(best))

	few, _ := tail(t, sim.Balanced{Policy: balancer.LeastRequest{}}, 5, uneven(20))
	assert.Less(t, float64(few), 1.6*float64(best))
	assert.Greater(t, float64(least), 4*float64(few))
}

// Where all servers are alike, and callers many, it hardly matters.
func TestEqualServers(t *testing.T) {
	servers := sim.Servers(20, sim.Server{Sharing: true})
	turns, _ := tail(t, sim.Balanced{Policy: balancer.RoundRobin{}}, 200, servers)
	least, _ := tail(t, sim.Balanced{Policy: balancer.LeastRequest{}}, 200, servers)
	best, _ := tail(t, sim.Central{}, 200, servers)
	assert.InEpsilon(t, turns, least, .25)
	assert.Less(t, float64(turns), 2.3*float64(best))
}
