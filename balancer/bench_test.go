package balancer_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tulle-mesh/tulle/balancer"
)

var benchSizes = []int{10, 100, 1000, 10000}

var benchWeights = map[string]func(int) uint32{"equal": nil, "mixed": func(i int) uint32 { return uint32(1 + i%7) }}

func benchPolicies(b *testing.B, run func(*testing.B, balancer.Policy, *fleet)) {
	for _, p := range []balancer.Policy{balancer.RoundRobin{}, balancer.Random{}, balancer.LeastRequest{}} {
		for name, weight := range benchWeights {
			for _, n := range benchSizes {
				f := newFleet(n, weight)
				b.Run(fmt.Sprintf("%T/%s/%d", p, name, n), func(b *testing.B) { run(b, p, f) })
			}
		}
	}
}

func BenchmarkPick(b *testing.B) {
	benchPolicies(b, func(b *testing.B, p balancer.Policy, f *fleet) {
		picker := p.New(balancer.Env{Seed: 1}).Update(f.eps)
		q := balancer.Query{}
		b.ReportAllocs()
		for b.Loop() {
			q.Draw++
			picker.Pick(q)
		}
	})
}

func BenchmarkPickParallel(b *testing.B) {
	benchPolicies(b, func(b *testing.B, p balancer.Policy, f *fleet) {
		picker := p.New(balancer.Env{Seed: 1}).Update(f.eps)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			q := balancer.Query{Draw: rand.Uint64()}
			for pb.Next() {
				q.Draw++
				picker.Pick(q)
			}
		})
	})
}

// With an attempt begun and ended after each pick, as calls do.
func BenchmarkPickBeginEndParallel(b *testing.B) {
	benchPolicies(b, func(b *testing.B, p balancer.Policy, f *fleet) {
		picker := p.New(balancer.Env{Seed: 1}).Update(f.eps)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			q := balancer.Query{Draw: rand.Uint64()}
			for pb.Next() {
				q.Draw++
				control := f.controls[picker.Pick(q)]
				control.Begin()
				control.End()
			}
		})
	})
}

func BenchmarkUpdate(b *testing.B) {
	benchPolicies(b, func(b *testing.B, p balancer.Policy, f *fleet) {
		bal := p.New(balancer.Env{Seed: 1})
		b.ReportAllocs()
		for b.Loop() {
			bal.Update(f.eps)
		}
	})
}
