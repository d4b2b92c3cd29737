package sim_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/internal/sim"
)

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
