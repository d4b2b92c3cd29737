package balancer_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/outcome"
)

// A pick by a token, and the report that makes the next one; and the report
// alone, to be taken off.
func BenchmarkLoadFed(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		f := newTokens(balancer.LoadFed{Exploration: 0.02}, n, nil)
		for i := range f.eps {
			f.say(i, report(2, 4, 10*ms))
		}
		o := f.b.(balancer.Observer)
		result := outcome.Result{Outcome: outcome.Outcome{Class: outcome.Success}, Latency: 10 * ms, Reported: true}
		for _, picks := range []bool{true, false} {
			name := "report"
			if picks {
				name = "pick+report"
			}
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					q := balancer.Query{Draw: rand.Uint64()}
					now := f.now
					for pb.Next() {
						q.Draw += 0x9e3779b97f4a7c15
						now = now.Add(10 * time.Microsecond)
						ep := f.eps[q.Draw>>40%uint64(n)]
						if q.Now = now; picks {
							ep = f.picker.Pick(q)
						}
						result.At = now
						o.Observe(ep, result)
					}
				})
			})
		}
	}
}

// What each pick costs more: the pick is made anew only now and then, as tokens
// are many.
func BenchmarkRoom(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		f := newTokens(balancer.LoadFed{}, n, nil)
		for i := range f.eps {
			f.say(i, report(float64(i%7), 4, 10*ms))
		}
		ep := f.picker.Pick(balancer.Query{Now: f.now})
		wary := f.picker.(balancer.Wary)
		if wary.Room(ep, f.now) == 0 {
			b.Fatal("nothing is known")
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				wary.Room(ep, f.now)
			}
		})
	}
}
