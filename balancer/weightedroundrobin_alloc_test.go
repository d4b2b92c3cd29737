//go:build !race

package balancer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/outcome"
)

// Only who renews the schedule allocates; here the time stands still.
func TestWeightedRoundRobinAllocs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []int{2, 10, 1000} {
			f := newFleet(n, nil)
			w := newWeighted(balancer.WeightedRoundRobin{}, f)
			capacities := make([]float64, n)
			for i := range capacities {
				capacities[i] = float64(1 + i%7)
			}
			w.warm(capacities...)
			if s := w.shares(); s[0] >= s[1] {
				t.Fatalf("%d endpoints: no schedule", n)
			}
			q := balancer.Query{Now: time.Now()}
			observer, result := w.balancer.(balancer.Observer), outcome.Result{At: q.Now, Reported: true}
			if a := testing.AllocsPerRun(1000, func() {
				q.Draw++
				q.Avoid = nil
				observer.Observe(w.picker.Pick(q), result)
				q.Avoid = f.eps[:2]
				w.picker.Pick(q)
			}); a != 0 {
				t.Errorf("%d endpoints: %v allocations", n, a)
			}
		}
	})
}
