//go:build !race

// Many events in one goroutine: the race detector finds nothing in them.

package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/internal/sim"
)

// roughFleet is a fleet of servers that are not alike, each with slow spells.
func roughFleet(servers, callers int, load float64, seed uint64) sim.Scenario {
	s := sim.Scenario{
		Seed: seed, Callers: callers, Load: load, Work: sim.Work{Sigma: .83}, Warm: 5 * time.Second, Measure: 6 * time.Second,
		Servers: sim.Servers(servers, sim.Server{
			Sharing: true, Spells: sim.Spells{Mean: time.Second, Gap: 5 * time.Second, Low: .4, High: .9},
		}),
	}
	for n := range servers / 2 {
		s.Servers[n].Speed = .6
	}
	return s
}

// centralRatio returns the mean over three seeds of the 99th percentile, in parts of
// that of a central choice.
func centralRatio(t *testing.T, p balancer.Policy, scenario func(seed uint64) sim.Scenario) (ratio float64) {
	for seed := range uint64(3) {
		s := scenario(seed + 1)
		s.Chooser = sim.Balanced{Policy: p}
		r := s.Run(t)
		s.Chooser = sim.Central{}
		ratio += float64(r.P99) / float64(s.Run(t).P99) / 3
	}
	return ratio
}

// Who makes less than a call in MaxAge has no use for reports, and is not worse
// off for them.
func TestLoadFedWhereCallersCallRarely(t *testing.T) {
	rarely := func(seed uint64) sim.Scenario { return roughFleet(3, 1000, .7, seed) }
	fed, peak := centralRatio(t, balancer.LoadFed{}, rarely), centralRatio(t, balancer.PeakEWMA{}, rarely)
	chance := centralRatio(t, balancer.Random{}, rarely)
	t.Logf("%.2f, peak EWMA %.2f, random %.2f", fed, peak, chance)
	assert.Less(t, fed, 1.2*peak)
	assert.Greater(t, chance, 1.2*peak, "negative control")
}

// When the load rises at once, tokens are as good as before.
func TestLoadFedInASurge(t *testing.T) {
	surge := func(seed uint64) sim.Scenario {
		s := roughFleet(20, 200, .2, seed)
		s.Measure = 2 * time.Second
		s.Changes = []sim.Change{{At: s.Warm, Do: func(f *sim.Fleet) { f.SetLoad(.9) }}}
		return s
	}
	fed, peak := centralRatio(t, balancer.LoadFed{}, surge), centralRatio(t, balancer.PeakEWMA{}, surge)
	t.Logf("%.2f, peak EWMA %.2f", fed, peak)
	assert.Less(t, fed, 2.1)
	assert.Greater(t, peak, 2.5, "negative control")
}

// Servers whose reports are false together have few more calls than others.
func TestLoadFedWithManyFalseReports(t *testing.T) {
	share := func(p balancer.LoadFed) float64 {
		s := roughFleet(20, 5, .7, 1)
		for n := range 6 {
			s.Servers[2*n+1].Reports = sim.Idle
		}
		s.Chooser = sim.Balanced{Policy: p}
		r := s.Run(t)
		picks := 0
		for n := range 6 {
			picks += r.Picks[2*n+1]
		}
		return float64(picks) / float64(r.Calls) * 20 / 6
	}
	assert.Less(t, share(balancer.LoadFed{}), 1.3)
}
