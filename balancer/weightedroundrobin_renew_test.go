package balancer

import (
	"math"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// While somebody renews the schedule, all others pick by the old one.
func TestWeightedRoundRobinRenewsOneAtATime(t *testing.T) {
	b := WeightedRoundRobin{BlackoutPeriod: -1, WeightExpirationPeriod: -1}.New(Env{Seed: 1}).(*weightedRoundRobin)
	var eps []*endpoint.Endpoint
	for _, addr := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
		ep, _ := endpoint.New(endpoint.Info{Addr: addr}, b.base)
		eps = append(eps, ep)
	}
	p := b.Update(eps).(*weightedPicker)
	for i, e := range p.reports {
		e.add(float64(i+1), 0, math.MaxInt64)
	}
	q := Query{Now: b.base.Add(time.Hour)}
	due := p.due.Swap(renewing)
	for range 100 {
		if p.Pick(q); p.schedule.Load() != nil {
			t.Fatal("two renew at once")
		}
	}
	// Nobody is so late as to come after all renewing.
	p.renew(math.MaxInt64)
	if p.schedule.Load() != nil {
		t.Fatal("two renew at once, in the end")
	}
	// Control: when it is due and nobody is at it, the first who comes is.
	p.due.Store(due)
	if p.Pick(q); p.schedule.Load() == nil {
		t.Fatal("nobody renews")
	}
	if got, want := p.due.Load(), int64(time.Hour+b.period); got != want {
		t.Errorf("due again at %v, want %v", time.Duration(got), time.Duration(want))
	}
	first := p.schedule.Load()
	for range 100 {
		if p.Pick(q); p.schedule.Load() != first {
			t.Fatal("renewed before it is due")
		}
	}
}
