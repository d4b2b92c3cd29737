package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/sim"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// chaos is a scenario in which everything happens that can.
func chaos(seed uint64) sim.Scenario {
	servers := []sim.Server{
		{Workers: 2},
		{Workers: 2, Sharing: true, Speed: .7},
		{Guard: &overload.Policy{}, Sharing: true},
		{Guard: &overload.Policy{MaxInFlight: 4, Waiting: 20, MaxWait: 30 * time.Millisecond}},
		{Guard: &overload.Policy{Mode: outcome.Observe}, Reports: sim.True, Spells: sim.Spells{Mean: 100 * time.Millisecond, Gap: time.Second, Low: .2, High: .6}},
		{Guard: &overload.Policy{MaxInFlight: 2, Waiting: -1}, Reports: sim.Idle, WarmUp: sim.WarmUp{For: time.Second, From: .2}},
		{Reports: sim.Garbage},
		{Reports: sim.Silent, Joins: 1500 * time.Millisecond, WarmUp: sim.WarmUp{For: time.Second, From: .2}},
	}
	var changes []sim.Change
	at := 50 * time.Millisecond
	for round := range 3 {
		for n := range servers {
			for i, do := range []func(f *sim.Fleet){
				func(f *sim.Fleet) { f.Hang(n) },
				func(f *sim.Fleet) { f.Resume(n) },
				func(f *sim.Fleet) { f.FailFast(n, 200*time.Microsecond) },
				func(f *sim.Fleet) { f.Hang(n) },
				func(f *sim.Fleet) { f.Crash(n) },
				func(f *sim.Fleet) { f.Resume(n) },
				func(f *sim.Fleet) { f.Hold(endpoint.Unhealthy, n, (n+1)%8) },
				func(f *sim.Fleet) { f.SetSpeed(n, .5); f.Crash((n + 1) % 7); f.Resume((n + 1) % 7) },
				func(f *sim.Fleet) { f.Lift(endpoint.Unhealthy, n, (n+1)%8); f.SetSpeed(n, 1) },
			} {
				if n == 7 && round < 2 && i > 5 {
					continue // has not joined
				}
				changes = append(changes, sim.Change{At: at, Do: do})
				at += time.Duration(2+(n+i+round)%5*7) * time.Millisecond
			}
		}
	}
	return sim.Scenario{
		Seed: seed, Servers: servers, Callers: 9, Load: 1.1, Work: sim.Work{Sigma: 1}, Jitter: 300 * time.Microsecond,
		Timeout: 60 * time.Millisecond, Loss: .2, Staleness: 5 * time.Millisecond, Changes: changes,
		Warm: -1, Measure: 4 * time.Second,
		Chooser: sim.Balanced{Policy: balancer.PeakEWMA{}, Spread: balancer.Spread{Panic: .3}, Ramp: 100 * time.Millisecond},
	}
}

// Whatever happens, each call ends once, and in the end nothing is in flight
// with callers or at servers: Run sees to that itself.
func TestEachCallEndsOnce(t *testing.T) {
	for seed := range uint64(4) {
		for _, abandon := range []bool{false, true} {
			t.Run(fmt.Sprintf("seed %d, abandon %t", seed, abandon), func(t *testing.T) {
				t.Parallel()
				s := chaos(seed)
				s.Abandon = abandon
				r := s.Run(t)
				require.Equal(t, r.All, r.Calls)
				require.Greater(t, r.Failed, 500)
				require.Greater(t, r.Calls-r.Failed, 4000)
				require.Greater(t, r.TimedOut, 50)
				picks := 0
				for _, n := range r.Picks {
					picks += n
				}
				require.Equal(t, r.Calls, picks)
				seconds, failed := 0, 0
				for _, s := range r.Seconds {
					for _, n := range s.Picks {
						seconds += n
					}
					failed += s.Failed
				}
				require.Equal(t, picks, seconds)
				require.Equal(t, r.Failed, failed)
			})
		}
	}
}

func TestSameSeedSameResult(t *testing.T) {
	choosers := []sim.Chooser{
		chaos(0).Chooser, sim.Central{}, sim.Central{Choices: 2, ByDelay: true}, sim.Pinned{},
		sim.Balanced{Policy: balancer.LoadFed{}}, sim.Prequal{},
	}
	for _, c := range choosers {
		t.Run(fmt.Sprintf("%T", c), func(t *testing.T) {
			t.Parallel()
			run := func(seed uint64) sim.Result {
				s := chaos(seed)
				s.Chooser, s.Measure = c, 3*time.Second
				r := s.Run(t)
				r.Took = 0
				return r
			}
			first := run(1)
			assert.Equal(t, first, run(1))
			assert.NotEqual(t, first.Mean, run(2).Mean)
		})
	}
}

// What is left to chance is the same whoever chooses.
func TestSameCallsForEachChooser(t *testing.T) {
	s := chaos(1)
	a := s.Run(t)
	s.Chooser = sim.Central{}
	assert.Equal(t, a.All, s.Run(t).All)
}
