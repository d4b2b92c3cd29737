//go:build !race

package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/internal/sim"
)

// many is the fleet at which what reports say matters most.
func many(sharing bool) fleet {
	return fleet{servers: 20, callers: 200, load: .85, sharing: sharing, seeds: either(4, 1), measure: either[time.Duration](8, 3) * time.Second}
}

// saying has some servers say something else.
func saying(r sim.Reports, servers func(n int) bool) func(*sim.Scenario) {
	return func(s *sim.Scenario) {
		for n := range s.Servers {
			if servers(n) {
				s.Servers[n].Reports = r
			}
		}
	}
}

func all(int) bool   { return true }
func odd(n int) bool { return n%2 == 1 }

// As reports get fewer, load-fed becomes peak EWMA: never worse, and without
// any as good.
func TestProofReportsLost(t *testing.T) {
	for _, sharing := range either([]bool{true, false}, []bool{true}) {
		f := many(sharing)
		plain := f.run(t, []rival{loadFed, peakEWMA, centralJSQ}, nil)
		peak := plain[peakEWMA.name].p99
		last := plain[loadFed.name].p99
		for _, loss := range []float64{.1, .5, .9, 1} {
			t.Logf("%v of the reports lost", loss)
			got := f.run(t, []rival{loadFed}, func(s *sim.Scenario) { s.Loss = loss })[loadFed.name].p99
			assert.Less(t, got, (1+noise)*peak)
			assert.Greater(t, got, (1-noise)*last, "less is told, and more known?")
			if last = got; loss == .1 {
				assert.Less(t, got, 1.2*plain[loadFed.name].p99)
			}
		}
		// Control: without reports there is no gain.
		assert.Greater(t, last, 1.5*1.5*plain[centralJSQ.name].p99)
		assert.InEpsilon(t, peak, last, .02)
		for what, r := range map[string]sim.Reports{"nothing": sim.Silent, "garbage": sim.Garbage} {
			t.Logf("all say %s", what)
			got := f.run(t, []rival{loadFed}, saying(r, all))[loadFed.name]
			assert.InEpsilon(t, peak, got.p99, .02)
			assert.Zero(t, got.results[0].Reported)
			t.Logf("every second one says %s", what)
			half := f.run(t, []rival{loadFed}, saying(r, odd))[loadFed.name]
			assert.Less(t, half.p99, peak)
			silent := 0.0
			for n := range f.servers {
				if odd(n) {
					silent += half.share(n, n+1) / float64(f.servers/2)
				}
			}
			t.Logf("%.2f of an even share for them", silent)
			assert.InDelta(t, 1, silent, .2)
		}
	}
}

// Old reports are worth less, and very old ones, that say of themselves that
// they are new, next to nothing: worse than none where no call is sent back.
func TestProofReportsStale(t *testing.T) {
	f := many(true)
	peak := f.run(t, []rival{peakEWMA}, nil)[peakEWMA.name].p99
	for stale, bound := range map[time.Duration]float64{100 * time.Millisecond: .6, time.Second: either(1.1, 2)} {
		t.Logf("reports %v old", stale)
		got := f.run(t, []rival{loadFed, kept}, func(s *sim.Scenario) { s.Staleness = stale })
		assert.Less(t, got[loadFed.name].p99, bound*peak)
		assert.Less(t, got[loadFed.name].p99, .9*got[kept.name].p99)
	}
}

// A server that always claims to be idle gets a little more than another one.
func TestProofAlwaysIdle(t *testing.T) {
	f := many(true)
	for _, liar := range []int{0, f.servers - 1} {
		honest := f.run(t, []rival{loadFed, peakEWMA}, nil)
		got := f.run(t, []rival{loadFed, {"reports used again", again{}}}, saying(sim.Idle, func(n int) bool { return n == liar }))
		before, now := honest[loadFed.name].share(liar, liar+1), got[loadFed.name].share(liar, liar+1)
		control := got["reports used again"].share(liar, liar+1)
		t.Logf("server %d: %.2f of an even share, %.2f when it says the truth, %.1f if it is believed", liar, now, before, control)
		assert.Less(t, now, 1.5*before)
		assert.Less(t, got[loadFed.name].p99, honest[peakEWMA.name].p99)
		assert.Greater(t, control, 3*before)
	}
}
