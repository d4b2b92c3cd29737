//go:build !race

package health_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

func BenchmarkRecordObserve(b *testing.B) {
	results := make([]outcome.Result, 64)
	for i := range results {
		results[i] = outcome.Result{Outcome: outcome.Outcome{Class: success}, Latency: time.Millisecond}
		if i%16 == 0 {
			results[i].Class = broken
		}
	}
	b.Run("one", func(b *testing.B) {
		f := newFleet(b, 1, 5, health.Outliers{})
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			f.now = f.now.Add(time.Microsecond)
			res := results[i%64]
			res.At = f.now
			f.rec[i%5].Observe(res, false)
			i++
		}
	})
	for _, n := range []int{1, 5} {
		b.Run(fmt.Sprintf("parallel on %d", n), func(b *testing.B) {
			f := newFleet(b, 1, n, health.Outliers{})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				now := begin
				for i := 0; pb.Next(); i++ {
					now = now.Add(time.Microsecond)
					res := results[i%64]
					res.At = now
					f.rec[i%n].Observe(res, false)
				}
			})
		})
	}
	b.Run("out, claim", func(b *testing.B) {
		o := newOne(b, health.Outliers{})
		o.eject()
		b.ReportAllocs()
		for b.Loop() {
			o.Claim(o.now)
		}
	})
}

// BenchmarkSweep is the call of Observe that holds all endpoints against one
// another, about once a second.
func BenchmarkSweep(b *testing.B) {
	for _, n := range []int{5, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := health.NewDetector(health.Outliers{}, nil)
			now := begin
			var records []*health.Record
			for i := range n {
				e, _ := endpoint.New(endpoint.Info{Addr: fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255)}, begin)
				records = append(records, d.Join(e, now))
			}
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Minute)
				records[0].Observe(outcome.Result{Outcome: outcome.Outcome{Class: success}, At: now}, false)
			}
		})
	}
}
