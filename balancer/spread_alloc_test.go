//go:build !race

package balancer_test

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/outcome"
)

// A pick of several parts with ramps, a retry of it and a result allocate
// nothing.
func TestDivisionAllocs(t *testing.T) {
	for name, p := range policies {
		for _, zones := range []balancer.Zones{balancer.AnyZone, balancer.NearestZone, balancer.WeightedZones} {
			d, l := ramped(p, zones, 40)
			observer := d.Observer()
			q := balancer.Query{Draw: 1}
			avoid := l.at[0]
			if a := testing.AllocsPerRun(500, func() {
				q.Draw++
				q.Hash += 0x9e3779b97f4a7c15
				q.HasHash = q.Draw%4 == 0
				q.Now = start.Add(time.Duration(q.Draw%40) * time.Second)
				q.Avoid = nil
				ep := d.Picker().Pick(q)
				l.controls[ep].Begin()
				q.Avoid = avoid
				d.Picker().Pick(q)
				if observer != nil {
					observer.Observe(ep, outcome.Result{At: q.Now, Latency: time.Millisecond})
				}
			}); a != 0 {
				t.Errorf("%s, %v: %v allocations", name, zones, a)
			}
		}
	}
}
