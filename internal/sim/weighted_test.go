//go:build !race

// These are many events in one goroutine: the race detector finds nothing in
// them that the other tests do not show it, and takes ten times as long.

package sim

import (
	"math"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
)

// By what their guards report, servers of different speed come to be equally
// busy.
func TestWeightedRoundRobinEvensOutUtilization(t *testing.T) {
	t.Log(Head)
	// share returns what the slow half gets beside the fast one.
	share := func(c Chooser, reports Reports) (float64, Result) {
		servers := Servers(10, Server{Reports: reports, Sharing: true})
		for i := range 5 {
			servers[i].Speed = 0.5
		}
		r := Scenario{Seed: 1, Servers: servers, Callers: 20, Load: 0.6, Warm: 12 * time.Second, Chooser: c}.Run(t)
		slow, fast := 0, 0
		for i, n := range r.Picks {
			if i < 5 {
				slow += n
			} else {
				fast += n
			}
		}
		t.Logf("%v %T: %.3f", r, c.(Balanced).Policy, float64(slow)/float64(fast))
		return float64(slow) / float64(fast), r
	}
	policy := Balanced{Policy: balancer.WeightedRoundRobin{}}
	got, r := share(policy, Guarded)
	if math.Abs(got-0.5) > 0.05 {
		t.Errorf("servers of half the speed get %.3f of what the others get", got)
	}
	plain, even := share(Balanced{Policy: balancer.RoundRobin{}}, Guarded)
	if even.P99 < 2*r.P99 {
		t.Errorf("round robin does as well: %v and %v", even.P99, r.P99)
	}
	// Control: without reports there is nothing to weigh.
	if silent, _ := share(policy, Silent); math.Abs(silent-plain) > 0.01 {
		t.Errorf("servers that say nothing get %.3f, by turns %.3f", silent, plain)
	}
}
