//go:build !race

// These are many events in one goroutine: the race detector finds nothing in
// them that the other tests do not show it, and takes ten times as long.

package sim

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
)

// uneven are n servers of which half are slower, all of them with spells.
func uneven(n int) []Server {
	all := Servers(n, Server{Sharing: true, Spells: Spells{Mean: time.Second, Gap: 5 * time.Second, Low: 0.4, High: 0.9}})
	for i := range n / 2 {
		all[i].Speed = 0.6
	}
	return all
}

// Independent simulations of the same fleet agree on this order. Where callers
// are many, what each has in flight tells it little, and probes tell much more;
// where they are few it is the other way round. An answer that is used once is
// better than one on which calls pile up. Nothing is as good as to know all,
// nor as bad as chance.
func TestPrequalAmongOthers(t *testing.T) {
	choosers := map[string]Chooser{
		"all known": Central{}, "once": Prequal{Quantile: 0.6, Once: true}, "prequal": Prequal{},
		"least request": Balanced{Policy: balancer.LeastRequest{}}, "random": Balanced{Policy: balancer.Random{}},
	}
	t.Log(Head)
	for callers, order := range map[int][]string{
		200: {"all known", "once", "prequal", "least request", "random"},
		5:   {"all known", "once", "least request", "prequal", "random"},
	} {
		p99, before := map[string]time.Duration{}, Result{}
		for _, name := range order {
			r := Scenario{
				Seed: 1, Servers: uneven(20), Callers: callers, Load: 0.85, Work: Work{Sigma: 0.83}, Measure: 3 * time.Second,
				Chooser: choosers[name],
			}.Run(t)
			p99[name] = r.P99
			t.Logf("%v %d callers, %s, %.0f ms", r, callers, name, 1000*r.Took.Seconds())
			if r.Mean < before.Mean*11/10 || r.P99 < before.P99 {
				t.Errorf("%d callers: %s is hardly worse than what comes before it:\n%v\n%v", callers, name, r, before)
			}
			before = r
			want := 0
			if _, probes := choosers[name].(Prequal); probes {
				want = prequalProbes * r.All
			}
			if r.Probes != want {
				t.Errorf("%d callers, %s: %d probes for %d calls", callers, name, r.Probes, r.All)
			}
			if callers == 200 && r.Reasons["chance"] > uint64(r.All)/50 {
				t.Errorf("%s: %d of %d picks found nothing in the pool", name, r.Reasons["chance"], r.All)
			}
		}
		if p99["once"] > 2*p99["all known"] {
			t.Errorf("%d callers: fresh answers are worth little: %v", callers, p99)
		}
	}
}
