//go:build !race

// These are many events in one goroutine: the race detector finds nothing in
// them that the other tests do not show it, and takes ten times as long.

package sim_test

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/internal/sim"
)

// long reports whether the whole proof is asked for, and not its short form.
func long() bool { return os.Getenv("TULLE_PROOF") != "" }

// either returns what is for the whole proof, or for its short form.
func either[T any](whole, short T) T {
	if long() {
		return whole
	}
	return short
}

// rival is a way to choose servers that is compared with others.
type rival struct {
	name    string
	chooser sim.Chooser
}

var (
	loadFed      = rival{"load-fed", sim.Balanced{Policy: balancer.LoadFed{}}}
	random       = rival{"random", sim.Balanced{Policy: balancer.Random{}}}
	roundRobin   = rival{"round robin", sim.Balanced{Policy: balancer.RoundRobin{}}}
	leastRequest = rival{"least request", sim.Balanced{Policy: balancer.LeastRequest{}}}
	peakEWMA     = rival{"peak EWMA", sim.Balanced{Policy: balancer.PeakEWMA{}}}
	// The blackout is for servers that have just started.
	weighted    = rival{"weighted", sim.Balanced{Policy: balancer.WeightedRoundRobin{BlackoutPeriod: -1}}}
	prequal     = rival{"Prequal", sim.Prequal{}}
	prequalOnce = rival{"Prequal once", sim.Prequal{Quantile: .6, Once: true}}
	pinned      = rival{"one connection", sim.Pinned{}}
	centralTwo  = rival{"central, two", sim.Central{Choices: 2}}
	centralJSQ  = rival{"central", sim.Central{}}
)

// everybody are the rivals of a whole table, the bounds at its end.
var everybody = []rival{
	loadFed, random, roundRobin, leastRequest, peakEWMA, weighted, prequal, prequalOnce, pinned, centralTwo, centralJSQ,
}

// fleet is a line of the table.
type fleet struct {
	servers, callers int
	load             float64
	even, sharing    bool
	seeds            int
	measure          time.Duration
}

func (f fleet) String() string {
	what := map[bool]string{false: "uneven", true: "even"}[f.even]
	how := map[bool]string{false: "in line", true: "sharing"}[f.sharing]
	return fmt.Sprintf("%d×%d %.2f %s %s", f.servers, f.callers, f.load, what, how)
}

// scenario returns the fleet at work: half of uneven servers have 0.6 of the
// speed of the others, and all of them spells in which they are slower still.
func (f fleet) scenario(seed uint64) sim.Scenario {
	one := sim.Server{Sharing: f.sharing}
	if !f.even {
		one.Spells = sim.Spells{Mean: time.Second, Gap: 5 * time.Second, Low: .4, High: .9}
	}
	s := sim.Scenario{
		Seed: seed, Servers: sim.Servers(f.servers, one), Callers: f.callers, Load: f.load,
		Work: sim.Work{Sigma: .83}, Warm: 3 * time.Second, Measure: f.measure,
	}
	if !f.even {
		for n := range f.servers / 2 {
			s.Servers[n].Speed = .6
		}
	}
	return s
}

// enough returns for how long a fleet must be looked at to count so many calls.
func (f fleet) enough(calls float64, least, most time.Duration) time.Duration {
	return min(most, max(least, time.Duration(calls/(float64(f.servers)*400*f.load)*float64(time.Second))))
}

// figures are the means over the seeds of what became of a rival.
type figures struct {
	rival                   string
	mean, p50, p99, p999    float64 // ms
	failed, herding, spread float64 // spread is of p99, from the least to the most
	results                 []sim.Result
}

func (f figures) String() string {
	return fmt.Sprintf("%-15s %7.2f %7.2f %7.1f %7.1f %8.4f %6.3f", f.rival, f.mean, f.p50, f.p99, f.p999, 100*f.failed, f.herding)
}

// share returns which part of the calls that were counted went to the servers
// from n up to but not including end, in parts of an even share.
func (f figures) share(n, end int) float64 {
	some, all := 0, 0
	for _, r := range f.results {
		for i, picks := range r.Picks {
			all += picks
			if i >= n && i < end {
				some += picks
			}
		}
	}
	servers := len(f.results[0].Picks)
	return float64(some) / float64(all) * float64(servers) / float64(end-n)
}

// run lets rivals have the same calls, once for each seed, side by side.
func (f fleet) run(t *testing.T, rivals []rival, change func(*sim.Scenario)) map[string]figures {
	t.Helper()
	all := make([][]sim.Result, len(rivals))
	t.Run(f.String(), func(t *testing.T) {
		for i, r := range rivals {
			all[i] = make([]sim.Result, max(1, f.seeds))
			for seed := range all[i] {
				t.Run(fmt.Sprintf("%s %d", r.name, seed), func(t *testing.T) {
					t.Parallel()
					s := f.scenario(uint64(seed + 1))
					if change != nil {
						change(&s)
					}
					s.Chooser = r.chooser
					all[i][seed] = s.Run(t)
				})
			}
		}
	})
	out := map[string]figures{}
	for i, r := range rivals {
		out[r.name] = sum(r.name, all[i])
	}
	for _, r := range rivals {
		line := fmt.Sprintf("%-24s %v", f, out[r.name])
		if best, ok := out[centralJSQ.name]; ok {
			line += fmt.Sprintf(" %6.2f × central", out[r.name].p99/best.p99)
		}
		t.Log(line)
	}
	return out
}

func sum(name string, results []sim.Result) figures {
	f := figures{rival: name, results: results}
	n := float64(len(results))
	low, high := math.Inf(1), 0.0
	for _, r := range results {
		f.mean += ms(r.Mean) / n
		f.p50 += ms(r.P50) / n
		f.p99 += ms(r.P99) / n
		f.p999 += ms(r.P999) / n
		f.failed += r.ErrorShare() / n
		f.herding += r.Herding / n
		low, high = min(low, ms(r.P99)), max(high, ms(r.P99))
	}
	f.spread = high / low
	return f
}
