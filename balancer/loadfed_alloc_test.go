//go:build !race

package balancer_test

import (
	"testing"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/outcome"
)

func TestLoadFedAllocs(t *testing.T) {
	for _, n := range []int{1, 5, 16, 200} {
		f := newTokens(balancer.LoadFed{}, n, nil)
		for i := range f.eps {
			f.say(i, report(float64(i%5), 4, 10*ms))
		}
		o := f.b.(balancer.Observer)
		q, roomy := balancer.Query{}, 0
		result := outcome.Result{Latency: 10 * ms, Reported: true}
		if a := testing.AllocsPerRun(2000, func() {
			q.Draw += 0x9e3779b97f4a7c15
			f.now = f.now.Add(ms)
			q.Now = f.now
			ep := f.picker.Pick(q)
			if f.picker.(balancer.Wary).Room(ep, q.Now) > 0 {
				roomy++
			}
			result.At, result.Class = f.now, outcome.Class(q.Draw>>60%4)
			o.Observe(ep, result)
		}); a != 0 {
			t.Errorf("%d endpoints: %v allocations", n, a)
		}
		if n > 1 && f.counts()[balancer.PickToken] == 0 {
			t.Errorf("%d endpoints: no pick by a token", n)
		}
		if n > 1 && roomy == 0 {
			t.Errorf("%d endpoints: no room was ever known", n)
		}
	}
}
