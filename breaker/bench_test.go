package breaker_test

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
)

func BenchmarkBreaker(b *testing.B) {
	now, ok := time.Now(), result(outcome.Success)
	for name, p := range map[string]breaker.Policy{
		"rate":         {},
		"all triggers": {Consecutive: 5, SlowCall: time.Hour},
	} {
		cb := newBreaker(b, p, breaker.Options{})
		b.Run(name+"/allow", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = cb.Allow(now)
			}
		})
		b.Run(name+"/allow and done", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				permit, _ := cb.Allow(now)
				permit.Done(ok)
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					permit, _ := cb.Allow(now)
					permit.Done(ok)
				}
			})
		})
	}
	open := newBreaker(b, breaker.Policy{OpenFor: time.Hour}, breaker.Options{})
	trip(b, open)
	b.Run("refused", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = open.Allow(now)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _ = breaker.New(breaker.Policy{}, breaker.Options{})
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := newLimiter(b, breaker.Limit{})
	ctx := b.Context()
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s, _ := l.Acquire(ctx)
			s.Release()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s, _ := l.Acquire(ctx)
				s.Release()
			}
		})
	})
}
