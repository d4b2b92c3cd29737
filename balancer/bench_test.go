package balancer_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/outcome"
)

var benchSizes = []int{10, 100, 1000, 10000}

var benchWeights = map[string]func(int) uint32{"equal": nil, "mixed": func(i int) uint32 { return uint32(1 + i%7) }}

func benchPolicies(b *testing.B, run func(*testing.B, balancer.Policy, *fleet)) {
	for _, p := range []balancer.Policy{
		balancer.RoundRobin{}, balancer.Random{}, balancer.LeastRequest{}, balancer.PeakEWMA{}, balancer.LoadFed{},
		balancer.RingHash{}, balancer.Maglev{}, balancer.Rendezvous{},
	} {
		for name, weight := range benchWeights {
			for _, n := range benchSizes {
				f := newFleet(n, weight)
				b.Run(fmt.Sprintf("%T/%s/%d", p, name, n), func(b *testing.B) { run(b, p, f) })
			}
		}
	}
}

// learnt returns a picker of a Balancer that has seen results of all.
func learnt(p balancer.Policy, f *fleet, now time.Time) balancer.Picker {
	bal := p.New(balancer.Env{Seed: 1})
	picker := bal.Update(f.eps)
	if o, ok := bal.(balancer.Observer); ok {
		for i, ep := range f.eps {
			o.Observe(ep, outcome.Result{
				Outcome: outcome.Outcome{Class: outcome.Success}, At: now, Latency: time.Duration(1+i%50) * time.Millisecond,
			})
		}
	}
	return picker
}

func BenchmarkPick(b *testing.B) {
	benchPolicies(b, func(b *testing.B, p balancer.Policy, f *fleet) {
		picker := learnt(p, f, time.Now())
		q := balancer.Query{Now: time.Now(), HasHash: true}
		b.ReportAllocs()
		for b.Loop() {
			q.Draw++
			q.Hash = q.Draw * 0x9e3779b97f4a7c15
			picker.Pick(q)
		}
	})
}

func BenchmarkPickParallel(b *testing.B) {
	benchPolicies(b, func(b *testing.B, p balancer.Policy, f *fleet) {
		picker := learnt(p, f, time.Now())
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			q := balancer.Query{Draw: rand.Uint64(), Now: time.Now(), HasHash: true}
			for pb.Next() {
				q.Draw++
				q.Hash = q.Draw * 0x9e3779b97f4a7c15
				picker.Pick(q)
			}
		})
	})
}

// With an attempt begun and ended after each pick, as calls do.
func BenchmarkPickBeginEndParallel(b *testing.B) {
	benchPolicies(b, func(b *testing.B, p balancer.Policy, f *fleet) {
		picker := learnt(p, f, time.Now())
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			q := balancer.Query{Draw: rand.Uint64(), Now: time.Now(), HasHash: true}
			for pb.Next() {
				q.Draw++
				q.Hash = q.Draw * 0x9e3779b97f4a7c15
				control := f.controls[picker.Pick(q)]
				control.Begin()
				control.End()
			}
		})
	})
}

// A hot key keeps its endpoint full, so that each pick asks how full it may
// be.
func BenchmarkPickBounded(b *testing.B) {
	for _, p := range []balancer.Policy{balancer.RingHash{Bound: 1.25}, balancer.Maglev{Bound: 1.25}, balancer.Rendezvous{Bound: 1.25}} {
		for _, n := range benchSizes {
			f := newFleet(n, nil).busy(func(int) int { return 2 })
			b.Run(fmt.Sprintf("%T/%d", p, n), func(b *testing.B) {
				picker := p.New(balancer.Env{}).Update(f.eps)
				q := balancer.Query{Hash: 1, HasHash: true, Now: time.Now()}
				full := f.controls[picker.Pick(q)]
				for range 10 {
					full.Begin()
					defer full.End()
				}
				b.ReportAllocs()
				for b.Loop() {
					q.Draw++
					q.Now = q.Now.Add(time.Microsecond)
					picker.Pick(q)
				}
			})
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	benchPolicies(b, func(b *testing.B, p balancer.Policy, f *fleet) {
		b.ReportAllocs()
		for b.Loop() {
			// A new Balancer each time: one that knows the set has less to do.
			p.New(balancer.Env{Seed: 1}).Update(f.eps)
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := newFleet(n, nil)
			bal := balancer.PeakEWMA{}.New(balancer.Env{})
			bal.Update(f.eps)
			o, at := bal.(balancer.Observer), time.Now()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				i, at := rand.IntN(n), at
				for pb.Next() {
					i, at = (i+1)%n, at.Add(time.Microsecond)
					o.Observe(f.eps[i], outcome.Result{
						Outcome: outcome.Outcome{Class: outcome.Success}, At: at, Latency: time.Duration(1+i%50) * time.Millisecond,
					})
				}
			})
		})
	}
}
