//go:build !race

package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/internal/sim"
	"github.com/tulle-mesh/tulle/overload"
)

// kept lets a server keep whatever comes.
var kept = rival{"all kept", sim.Balanced{Policy: balancer.LoadFed{SendBack: -1}}}

// back returns which part of the calls was sent back.
func (f figures) back() float64 {
	back, all := 0, 0
	for _, r := range f.results {
		back, all = back+r.SentBack, all+r.Calls
	}
	return float64(back) / float64(all)
}

// A call that finds more than it expected goes elsewhere, and what other callers
// have done meanwhile matters less. Few go twice.
func TestProofSentBack(t *testing.T) {
	rivals := []rival{loadFed, kept, centralJSQ}
	if long() {
		for _, factor := range []float64{1.1, 1.25, 1.5, 2} {
			rivals = append(rivals, rival{fmt.Sprintf("factor %v", factor), sim.Balanced{Policy: balancer.LoadFed{SendBack: factor}}})
		}
	}
	adaptive := func(s *sim.Scenario) {
		for n := range s.Servers {
			s.Servers[n].Guard = &overload.Policy{}
		}
	}
	half := func(s *sim.Scenario) {
		for n := range s.Servers {
			s.Servers[n].Keeps = odd(n)
		}
	}
	for _, sharing := range []bool{true, false} {
		f := many(sharing)
		if f.seeds = either(6, 2); !long() {
			f.measure = 4 * time.Second
		}
		for _, c := range []struct {
			name   string
			change func(*sim.Scenario)
			gain   float64 // at least
		}{{"plain", nil, .05}, {"limits that adapt", adaptive, .04}, {"half keep all", half, 0}} {
			if c.change != nil && !long() {
				if f.seeds = 1; !sharing {
					continue
				}
			}
			got := f.run(t, rivals, c.change)
			for _, r := range rivals {
				t.Logf("%s, %s: %.3f of the calls sent back, 99th percentile %.3f of that of central", c.name, r.name, got[r.name].back(), got[r.name].p99/got[centralJSQ.name].p99)
			}
			fed, control := got[loadFed.name], got[kept.name]
			assert.Less(t, fed.p99, (1-c.gain)*control.p99, c.name)
			assert.Less(t, fed.p50, control.p50, c.name)
			assert.Less(t, fed.back(), .15, c.name)
			assert.Greater(t, fed.back(), .03, c.name)
			assert.Zero(t, control.back())
		}
	}
}

// Where there is little to be had by going elsewhere, nothing is lost by it:
// neither where servers have too much to do, all of them, nor where requests are
// as short as the way, or the way is long.
func TestProofSentBackCostsNothing(t *testing.T) {
	brief := func(s *sim.Scenario) {
		s.Work.Mean, s.Measure = 300*time.Microsecond, either(4*second, second)
		for n := range s.Servers {
			s.Servers[n].Spells.Mean, s.Servers[n].Spells.Gap = second/5, second
		}
	}
	flood := func(guard *overload.Policy) func(s *sim.Scenario) {
		return func(s *sim.Scenario) {
			for n := range s.Servers {
				s.Servers[n].Guard = guard
			}
			s.Changes = []sim.Change{
				at(s.Warm, func(f *sim.Fleet) { f.SetLoad(1.1) }), at(s.Warm+2*second, func(f *sim.Fleet) { f.SetLoad(.5) }),
			}
		}
	}
	for _, c := range []struct {
		name   string
		load   float64
		back   float64 // at most
		change func(*sim.Scenario)
	}{
		{"little to do", .3, .04, nil},
		{"brief requests", .85, .09, brief},
		{"brief requests, jitter", .85, .09, func(s *sim.Scenario) { brief(s); s.Jitter = 500 * time.Microsecond }},
		{"jitter", .85, .15, func(s *sim.Scenario) { s.Jitter = 2 * time.Millisecond }},
		{"a long way", .85, .17, func(s *sim.Scenario) { s.Delay = 20 * time.Millisecond }},
		{"too much to do", .85, .45, flood(nil)},
		{"too much to do, and the guards refuse", .85, .25, flood(&overload.Policy{MaxInFlight: 4})},
	} {
		for _, sharing := range either([]bool{true, false}, []bool{true}) {
			f := many(sharing)
			f.load = c.load
			got := f.run(t, []rival{loadFed, kept}, c.change)
			fed, control := got[loadFed.name], got[kept.name]
			t.Logf("%s: %.3f of the calls sent back, mean %.3f, p50 %.3f, p99 %.3f of what they are without; failed %.4f and %.4f", c.name, fed.back(),
				fed.mean/control.mean, fed.p50/control.p50, fed.p99/control.p99, fed.failed, control.failed)
			assert.Less(t, fed.mean, 1.03*control.mean, c.name)
			assert.Less(t, fed.p50, 1.03*control.p50, c.name)
			assert.Less(t, fed.p99, (1+noise)*control.p99, c.name)
			assert.LessOrEqual(t, fed.failed, 1.1*control.failed+.0005, c.name)
			assert.Less(t, fed.back(), c.back, c.name)
		}
	}
}
