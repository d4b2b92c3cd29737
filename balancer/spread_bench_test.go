package balancer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
)

// ramped returns a division of three zones and a second priority in which a
// third of the endpoints are in their ramps.
func ramped(p balancer.Policy, zones balancer.Zones, n int) (*balancer.Division, *land) {
	l := newLand(
		place{region: "eu", zone: "a", n: n / 4, held: n / 12}, place{region: "eu", zone: "b", n: n / 4},
		place{region: "us", zone: "c", n: n / 4}, place{priority: 1, region: "eu", zone: "a", n: n / 4},
	)
	for i := range l.members {
		if i%3 == 0 {
			l.members[i].RampFor = time.Hour + 30*time.Second
		}
	}
	s := balancer.Spread{Zones: zones}
	if zones == balancer.WeightedZones {
		s.ZoneWeights = []balancer.ZoneWeight{{Zone: "a", Weight: 1}, {Zone: "b", Weight: 2}, {Zone: "c", Weight: 3}}
	}
	return balancer.NewSpreader(p, s, balancer.Env{Region: "eu", Zone: "a"}).Update(l.members, start), l
}

// What a division adds to the picks of a policy.
func BenchmarkDivision(b *testing.B) {
	for _, p := range []balancer.Policy{balancer.Random{}, balancer.LeastRequest{}, balancer.PeakEWMA{}, balancer.Rendezvous{}} {
		run := func(name string, picker balancer.Picker, now time.Time) {
			b.Run(fmt.Sprintf("%T/%s", p, name), func(b *testing.B) {
				_, keyed := p.(balancer.Rendezvous)
				q := balancer.Query{Now: now, HasHash: keyed}
				b.ReportAllocs()
				for b.Loop() {
					q.Draw++
					q.Hash = q.Draw * 0x9e3779b97f4a7c15
					picker.Pick(q)
				}
			})
		}
		f := newFleet(40, nil)
		run("plain", p.New(balancer.Env{}).Update(f.eps), start)
		l := newLand(place{n: 20}, place{priority: 1, n: 20})
		run("two tiers", balancer.NewSpreader(p, balancer.Spread{}, balancer.Env{}).Update(l.members, start).Picker(), start)
		d, _ := ramped(p, balancer.WeightedZones, 40)
		run("four zones, ramps over", d.Picker(), start.Add(time.Hour))
		run("four zones, ramps", d.Picker(), start.Add(5*time.Second))
	}
}

func BenchmarkSpreaderUpdate(b *testing.B) {
	for _, n := range []int{100, 10000} {
		for name, now := range map[string]time.Time{"ramps": start, "no ramps": start.Add(time.Hour)} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				_, l := ramped(balancer.Random{}, balancer.NearestZone, n)
				s := balancer.NewSpreader(balancer.LeastRequest{}, balancer.Spread{Zones: balancer.NearestZone}, balancer.Env{Region: "eu", Zone: "a"})
				for i := range l.members {
					if i%3 == 0 {
						l.members[i].RampFor = time.Hour + 30*time.Second
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					s.Update(l.members, now)
				}
			})
		}
	}
}
