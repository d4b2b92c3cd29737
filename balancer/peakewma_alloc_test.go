//go:build !race

package balancer_test

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/outcome"
)

func TestPeakEWMAObserveAllocs(t *testing.T) {
	f := newFleet(100, nil)
	b := balancer.PeakEWMA{}.New(balancer.Env{})
	picker := b.Update(f.eps)
	now := time.Now()
	q := balancer.Query{}
	if a := testing.AllocsPerRun(1000, func() {
		q.Draw++
		now = now.Add(time.Millisecond)
		q.Now = now
		b.(balancer.Observer).Observe(picker.Pick(q), outcome.Result{
			Outcome: outcome.Outcome{Class: outcome.Class(q.Draw % 8)}, At: now, Latency: time.Duration(q.Draw) * time.Microsecond,
		})
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
