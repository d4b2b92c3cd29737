package sim_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
		Seed: 11, Servers: servers, Callers: callers, Load: .7, Work: sim.Work{Sigma: .83}, Chooser: c, Measure: 6 * time.Second,
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

// probing picks by chance and asks the servers how they are.
type probing struct {
	got func(c *sim.Caller, sent time.Time, server int, r sim.Reading)
}

func (p probing) New(c *sim.Caller) sim.Picker { return &prober{p, c} }

type prober struct {
	probing
	caller *sim.Caller
}

func (p *prober) Pick(now time.Time, draw uint64) int {
	n := p.caller.Usable()[draw%uint64(len(p.caller.Usable()))]
	p.caller.Probe(n, func(r sim.Reading) { p.got(p.caller, now, n, r) })
	return n
}

// A probe takes as long as two messages and tells what is true half way.
func TestProbes(t *testing.T) {
	var answers, inFlight int
	// What servers say of requests that find few others, and many.
	var alone, crowded []time.Duration
	s := sim.Scenario{
		Seed: 1, Servers: sim.Servers(3, sim.Server{}), Callers: 2, Load: .8, Work: sim.Work{Constant: true}, Delay: time.Millisecond,
		Warm: -1, Measure: 30 * time.Second,
		Chooser: probing{func(c *sim.Caller, sent time.Time, server int, r sim.Reading) {
			now := c.Fleet().Now()
			require.Equal(t, 2*time.Millisecond, now.Sub(sent))
			require.Equal(t, now, time.Now(), "the clock is that of the simulation")
			answers++
			inFlight += r.InFlight
			switch {
			case r.InFlight < 4 && r.Latency > 0:
				alone = append(alone, r.Latency)
			case r.InFlight == 8 || r.InFlight == 9:
				crowded = append(crowded, r.Latency)
			}
		}},
	}
	r := s.Run(t)
	require.Equal(t, r.All, r.Probes)
	require.InDelta(t, r.All, answers, 2, "but for the last")
	require.InEpsilon(t, r.InFlight, float64(inFlight)/float64(answers), .03, "calls come, and ask, at any time")
	slices.Sort(alone)
	require.Equal(t, 10*time.Millisecond, alone[len(alone)/2])
	slices.Sort(crowded)
	require.Greater(t, crowded[len(crowded)/10], 20*time.Millisecond)
	require.Less(t, crowded[len(crowded)*9/10], 40*time.Millisecond)
}

// Who hangs or is gone does not answer probes.
func TestProbesInVain(t *testing.T) {
	for _, stop := range []func(*sim.Fleet){
		func(f *sim.Fleet) { f.Hang(0) },
		func(f *sim.Fleet) { f.Crash(0) },
	} {
		answers := 0
		s := sim.Scenario{
			Seed: 1, Servers: sim.Servers(1, sim.Server{}), Load: .1, Warm: -1, Measure: 2 * time.Second,
			Changes: []sim.Change{{At: time.Second, Do: stop}},
			Chooser: probing{func(c *sim.Caller, _ time.Time, _ int, _ sim.Reading) { answers++ }},
		}
		r := s.Run(t)
		before := r.Seconds[0].Picks[0]
		require.InDelta(t, before, answers, 1)
		require.Greater(t, r.Probes, before+10)
	}
}
