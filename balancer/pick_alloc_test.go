//go:build !race

package balancer_test

import (
	"testing"

	"github.com/tulle-mesh/tulle/balancer"
)

func TestPickAllocs(t *testing.T) {
	for name, p := range policies {
		for _, n := range []int{1, 2, 10, 1000, 10000} {
			for _, weight := range []func(int) uint32{nil, func(i int) uint32 { return uint32(1 + i%7) }} {
				f := newFleet(n, weight)
				picker := p.New(balancer.Env{Seed: 1}).Update(f.eps)
				avoid := f.eps[:min(3, n)]
				q := balancer.Query{Draw: 1}
				if a := testing.AllocsPerRun(200, func() {
					q.Draw++
					q.Hash += 0x9e3779b97f4a7c15
					q.HasHash = q.Draw%4 != 0
					q.Avoid = nil
					f.controls[picker.Pick(q)].Begin()
					q.Avoid = avoid
					picker.Pick(q)
				}); a != 0 {
					t.Errorf("%s, %d endpoints: %v allocations", name, n, a)
				}
			}
		}
	}
}
