package balancer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/outcome"
)

// reporting returns a WeightedRoundRobin whose endpoints could do from 1 to 7.
func reporting(n int) (balancer.Balancer, *fleet) {
	f := newFleet(n, nil)
	b := balancer.WeightedRoundRobin{BlackoutPeriod: -1, WeightExpirationPeriod: -1}.New(balancer.Env{Seed: 1})
	b.Update(f.eps)
	for i, ep := range f.eps {
		f.controls[ep].Report(able(float64(1+i%7)), time.Now())
		b.(balancer.Observer).Observe(ep, outcome.Result{At: time.Now(), Reported: true})
	}
	return b, f
}

// RoundRobin with weights of discovery from 1 to 7 is there to compare.
func BenchmarkPickWeighted(b *testing.B) {
	for _, n := range benchSizes {
		informed, f := reporting(n)
		for _, p := range []struct {
			name   string
			picker balancer.Picker
		}{
			{"weighted", informed.Update(f.eps)},
			{"round_robin", balancer.RoundRobin{}.New(balancer.Env{Seed: 1}).Update(newFleet(n, func(i int) uint32 { return uint32(1 + i%7) }).eps)},
		} {
			b.Run(fmt.Sprintf("serial/%s/%d", p.name, n), func(b *testing.B) {
				q := balancer.Query{Now: time.Now()}
				b.ReportAllocs()
				for b.Loop() {
					p.picker.Pick(q)
				}
			})
			b.Run(fmt.Sprintf("parallel/%s/%d", p.name, n), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					q := balancer.Query{Now: time.Now()}
					for pb.Next() {
						p.picker.Pick(q)
					}
				})
			})
		}
	}
}

// What the pick pays that comes when it is time.
func BenchmarkRenewWeighted(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			informed, f := reporting(n)
			picker, q := informed.Update(f.eps), balancer.Query{Now: time.Now()}
			b.ReportAllocs()
			for b.Loop() {
				q.Now = q.Now.Add(time.Second)
				picker.Pick(q)
			}
		})
	}
}
