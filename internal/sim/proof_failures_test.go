//go:build !race

package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/internal/sim"
)

var (
	// careless takes failures for answers, incurious does not look for what
	// tokens do not know of.
	careless  = rival{"no penalty", sim.Balanced{Policy: balancer.LoadFed{FailurePenalty: -1}}}
	incurious = rival{"no exploration", sim.Balanced{Policy: balancer.LoadFed{Exploration: -1}}}
)

// One of 50 servers fails at once, and so is always idle.
func TestProofFailFast(t *testing.T) {
	const bad = 30
	for _, callers := range either([]int{50, 500}, []int{100}) {
		for _, after := range either([]time.Duration{200 * time.Microsecond, 5 * time.Millisecond}, []time.Duration{200 * time.Microsecond}) {
			f := fleet{servers: 50, callers: callers, load: .7, sharing: true, seeds: either(3, 1), measure: either[time.Duration](8, 2) * time.Second}
			rivals := either(append([]rival{careless}, everybody...), []rival{loadFed, careless, leastRequest})
			got := f.run(t, rivals, func(s *sim.Scenario) {
				s.Changes = []sim.Change{at(3*second, func(f *sim.Fleet) { f.FailFast(bad, after) })}
			})
			for _, r := range rivals {
				t.Logf("%d callers, %v: %s has %.3f of an even share there", callers, after, r.name, got[r.name].share(bad, bad+1))
			}
			assert.Less(t, got[loadFed.name].share(bad, bad+1), .25)
			assert.Less(t, got[loadFed.name].failed, .005)
			assert.Greater(t, got[careless.name].share(bad, bad+1), 1.4, "the control is a sinkhole")
			assert.Greater(t, got[leastRequest.name].share(bad, bad+1), .9)
		}
	}
}

// A server hangs: each caller finds that out with about one call, and most by
// that nothing comes back, before the time is over.
func TestProofHang(t *testing.T) {
	const bad = 15
	f := many(true)
	f.load, f.measure = .6, 4*time.Second
	got := f.run(t, either(everybody, []rival{loadFed, peakEWMA, leastRequest, centralJSQ}), func(s *sim.Scenario) {
		s.Changes = []sim.Change{at(3*second, func(f *sim.Fleet) { f.Hang(bad) })}
	})
	timedOut := func(r rival) float64 {
		n := 0.0
		for _, result := range got[r.name].results {
			n += float64(result.TimedOut) / float64(len(got[r.name].results))
		}
		return n
	}
	t.Logf("calls lost: %.0f, by peak EWMA %.0f, by least request %.0f", timedOut(loadFed), timedOut(peakEWMA), timedOut(leastRequest))
	assert.Less(t, timedOut(loadFed), float64(f.callers)/2)
	assert.Less(t, timedOut(loadFed), timedOut(peakEWMA)/2)
	assert.Less(t, timedOut(loadFed), timedOut(leastRequest)/4)
	for _, r := range got[loadFed.name].results {
		assert.Less(t, r.Seconds[5].Share(bad)*float64(f.servers), .1)
	}
}

// That some requests fail on all servers makes no difference to the others.
func TestProofBackgroundFailures(t *testing.T) {
	for _, f := range []fleet{many(true), {servers: 20, callers: 5, load: .85, sharing: true, seeds: either(4, 1), measure: either[time.Duration](8, 3) * time.Second}} {
		without := f.run(t, []rival{loadFed}, nil)[loadFed.name].p99
		for _, part := range either([]float64{.001, .01, .05}, []float64{.01, .05}) {
			t.Logf("%v of the requests fail", part)
			got := f.run(t, []rival{loadFed, peakEWMA}, func(s *sim.Scenario) {
				for n := range s.Servers {
					s.Servers[n].Errors = part
				}
			})
			assert.InDelta(t, part, got[loadFed.name].failed, part/2)
			assert.Less(t, got[loadFed.name].p99, 1.15*without, "%v %v", f, part)
			// Control: peak EWMA takes a failure for a very long call.
			if f.callers > 100 && part == .05 {
				assert.Greater(t, got[peakEWMA.name].p99, 3*without)
			}
		}
	}
}

// A server that was slow for a while is found again. Without exploration it is
// not where callers always have better tokens.
func TestProofExploration(t *testing.T) {
	const slow = 7
	f := fleet{servers: 30, callers: 5, load: .2, even: true, sharing: true, seeds: either(6, 2), measure: 16 * time.Second}
	got := f.run(t, []rival{loadFed, incurious}, func(s *sim.Scenario) {
		s.Timeout = 10 * time.Second
		s.Changes = []sim.Change{
			at(3*second, func(f *sim.Fleet) { f.SetSpeed(slow, .1) }),
			at(5*second, func(f *sim.Fleet) { f.SetSpeed(slow, 1) }),
		}
	})
	// left counts the runs in which the server has next to nothing of the last
	// four seconds, and share what it has on the average.
	var share float64
	left := func(r rival) (n int) {
		share = 0
		for _, result := range got[r.name].results {
			last := result.Seconds[15:19]
			own := 0.0
			for _, s := range last {
				own += s.Share(slow) * float64(f.servers) / float64(len(last))
			}
			if share += own / float64(f.seeds); own < .1 {
				n++
			}
		}
		t.Logf("%s: %.3f of an even share at the end, left alone in %d of %d runs", r.name, share, n, f.seeds)
		return n
	}
	assert.Zero(t, left(loadFed))
	assert.Greater(t, share, .4)
	assert.GreaterOrEqual(t, left(incurious), f.seeds/2)
}

// A server that has failed for two seconds is given another try while it is
// not too late.
func TestProofComesBack(t *testing.T) {
	const bad = 7
	f := fleet{servers: 20, callers: 200, load: .5, even: true, sharing: true, seeds: either(4, 1), measure: 9 * time.Second}
	for what, stop := range map[string]func(*sim.Fleet){
		"hangs": func(f *sim.Fleet) { f.Hang(bad) },
		"fails": func(f *sim.Fleet) { f.FailFast(bad, time.Millisecond) },
	} {
		got := f.run(t, []rival{loadFed, peakEWMA}, func(s *sim.Scenario) {
			s.Changes = []sim.Change{at(3*second, stop), at(5*second, func(f *sim.Fleet) { f.Resume(bad) })}
		})
		for name, r := range got {
			t.Logf("one %s: %s gives it at most %.2f of its share in the last second of that, and %.2f five seconds later", what, name,
				r.most(4, bad, bad+1, f.servers), r.most(10, bad, bad+1, f.servers))
		}
		assert.Less(t, got[loadFed.name].most(4, bad, bad+1, f.servers), .2)
		assert.Greater(t, got[loadFed.name].most(10, bad, bad+1, f.servers), .5)
		assert.Less(t, got[peakEWMA.name].most(10, bad, bad+1, f.servers), .5)
	}
}
