package sim_test

import (
	"testing"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/internal/sim"
	"time"
)

func TestTry(t *testing.T) {
	servers := sim.Servers(20, sim.Server{Sharing: true, Spells: sim.Spells{Mean: time.Second, Gap: 5 * time.Second, Low: .4, High: .9}})
	for i := range 10 {
		servers[i].Speed = .6
	}
	t.Log(sim.Head)
	for _, c := range []sim.Chooser{
		sim.Balanced{Policy: balancer.Random{}},
		sim.Balanced{Policy: balancer.RoundRobin{}},
		sim.Balanced{Policy: balancer.LeastRequest{}},
		sim.Balanced{Policy: balancer.PeakEWMA{}},
		sim.Pinned{}, sim.Central{Choices: 2}, sim.Central{}, sim.Central{ByDelay: true},
	} {
		r := sim.Scenario{Seed: 1, Servers: servers, Callers: 200, Load: .85, Chooser: c,
			Work: sim.Work{Sigma: .83}, Measure: 15 * time.Second}.Run(t)
		t.Logf("%v %T %.0f/s all %d rep %.2f", r, c, float64(r.All)/r.Took.Seconds(), r.All, r.Reported)
	}
}
