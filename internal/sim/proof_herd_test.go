//go:build !race

package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/sim"
)

// again takes the server of the fewest requests by the last reports, which it
// uses again and again: what one would do first.
type again struct{}

func (again) New(c *sim.Caller) sim.Picker { return &agains{c} }

type agains struct{ caller *sim.Caller }

func (a *agains) Pick(_ time.Time, draw uint64) int {
	usable := a.caller.Usable()
	best, least := -1, 0.0
	for i := range usable {
		n := usable[(i+int(draw%uint64(len(usable))))%len(usable)]
		inFlight := 0.0
		if load := a.caller.Endpoint(n).Load(); load != nil {
			inFlight = load.InFlight
		}
		if best < 0 || inFlight < least {
			best, least = n, inFlight
		}
	}
	return best
}

// Callers do not fall on the same idle server together: by how much servers
// differ in their requests at one time.
func TestProofHerding(t *testing.T) {
	f := many(true)
	f.even = true
	got := f.run(t, append(either(everybody, []rival{loadFed, leastRequest, peakEWMA, prequal, centralTwo}), rival{"reports used again", again{}}), nil)
	fed := got[loadFed.name].herding
	assert.Less(t, fed, got[leastRequest.name].herding)
	assert.Less(t, fed, got[peakEWMA.name].herding)
	assert.Less(t, fed, 2*got[centralTwo.name].herding)
	// Controls: what is told, used more than once.
	assert.Greater(t, got[prequal.name].herding, 1.5*fed)
	assert.Greater(t, got["reports used again"].herding, 1.2*fed)
}

// grown is how endpoints that are new or come back grow into their share.
const grown = 3 * time.Second

func growing(p balancer.Policy) sim.Balanced {
	return sim.Balanced{Policy: p, Ramp: grown, Spread: balancer.Spread{SlowStart: balancer.SlowStart{Window: grown}}}
}

// most returns the most that one of the servers from n up to but not including
// end had of a second, in parts of an even share among so many.
func (f figures) most(second, n, end, among int) float64 {
	most := 0.0
	for _, r := range f.results {
		for i := n; i < end; i++ {
			most = max(most, float64(among)*r.Seconds[second].Share(i))
		}
	}
	return most
}

// A zone goes out and comes back, and a server joins: none of them has more
// than twice its share in the first second, with ramps or without.
func TestProofZoneOutAndBack(t *testing.T) {
	ramped := rival{"load-fed, ramps", growing(balancer.LoadFed{})}
	plain := rival{"reports used again", again{}}
	f := many(true)
	f.load, f.measure = .6, 6*time.Second
	const first = 15 // of the zone
	zone := []int{15, 16, 17, 18, 19}
	out := f.run(t, []rival{loadFed, ramped, peakEWMA, centralJSQ, plain}, func(s *sim.Scenario) {
		for _, n := range zone {
			s.Servers[n].Zone = "b"
		}
		s.Changes = []sim.Change{
			at(4*second, func(f *sim.Fleet) { f.Hold(endpoint.Unhealthy, zone...) }),
			at(6*second, func(f *sim.Fleet) { f.Lift(endpoint.Unhealthy, zone...) }),
		}
	})
	for name, r := range out {
		t.Logf("%s: at most %.2f of a share in the first second, %.2f in the second, %.2f in the third", name,
			r.most(6, first, 20, 20), r.most(7, first, 20, 20), r.most(8, first, 20, 20))
		assert.Zero(t, r.most(5, first, 20, 20))
	}
	// Of its share by what it can do: one half is slower.
	assert.Less(t, out[loadFed.name].most(6, 0, 10, 20), 2*.75)
	assert.Less(t, out[loadFed.name].most(6, 10, 20, 20), 2*1.25)
	assert.Less(t, out[ramped.name].most(6, 0, first, first), 2., "those that stayed still do the work")
	assert.Less(t, out[ramped.name].most(6, first, 20, 20), .5)
	assert.Greater(t, out[ramped.name].most(8, first, 20, 20), .3, "it comes back")
	assert.Less(t, out[loadFed.name].p99, out[peakEWMA.name].p99)
	// Control: nobody has heard of them, so they are idle.
	assert.Greater(t, out[plain.name].most(6, first, 20, 20), 2.)

	join := f.run(t, []rival{loadFed, ramped, peakEWMA, centralJSQ}, func(s *sim.Scenario) {
		s.Servers[19].Joins, s.Servers[19].WarmUp = 5*second, sim.WarmUp{For: grown, From: .2}
	})
	for name, r := range join {
		t.Logf("%s: %.2f of a share in the first second, %.2f in the last", name, r.most(5, 19, 20, 20), r.most(8, 19, 20, 20))
	}
	assert.Less(t, join[loadFed.name].most(5, 19, 20, 20), 2.)
	assert.Less(t, join[ramped.name].most(5, 19, 20, 20), .7)
	assert.Greater(t, join[loadFed.name].most(8, 19, 20, 20), .2)
	assert.Less(t, join[loadFed.name].p99, join[peakEWMA.name].p99)
}

// From the first call on, when nobody has heard of anybody.
func TestProofColdStart(t *testing.T) {
	for _, sharing := range []bool{true, false} {
		f := many(sharing)
		f.load, f.measure = .7, 2*time.Second
		got := f.run(t, either(everybody, []rival{loadFed, peakEWMA, centralJSQ}), func(s *sim.Scenario) { s.Warm = -1 })
		assert.Less(t, got[loadFed.name].p99, got[peakEWMA.name].p99)
		assert.Less(t, got[loadFed.name].p99, 1.8*got[centralJSQ.name].p99)
	}
}
