package retry_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// instant is a Tryer whose attempts cost nothing and end at once.
type instant struct{ resp *http.Response }

func (r *instant) Prepare(context.Context, int) (retry.Try, error) { return r, nil }
func (r *instant) Release()                                        {}
func (r *instant) Send(context.Context, retry.Body) (*http.Response, outcome.Outcome, error) {
	return r.resp, outcome.Outcome{Class: outcome.Success, Status: 200}, nil
}

func newInstant() *instant {
	return &instant{resp: &http.Response{StatusCode: 200, Body: http.NoBody}}
}

func BenchmarkDo(b *testing.B) {
	in := newRequest(b, "GET", nil)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.Run("direct", func(b *testing.B) {
		var t retry.Tryer = newInstant()
		b.ReportAllocs()
		for b.Loop() {
			try, _ := t.Prepare(ctx, 1)
			_, _, _ = try.Send(ctx, retry.Body{})
		}
	})
	for _, c := range []struct {
		name    string
		options retry.Options
	}{
		{"nothing armed", retry.Options{}},
		{"retries", retry.Options{Policy: &retry.Policy{}}},
		{"timeout", retry.Options{Policy: &retry.Policy{}, Timeout: time.Minute}},
		{"timeout and per try", retry.Options{Policy: &retry.Policy{PerTry: time.Second}, Timeout: time.Minute}},
	} {
		b.Run(c.name, func(b *testing.B) {
			loop, t := newLoop(b, c.options), newInstant()
			b.ReportAllocs()
			for b.Loop() {
				_, _ = loop.Do(ctx, in, t)
			}
		})
	}
	b.Run("retries, parallel", func(b *testing.B) {
		loop := newLoop(b, retry.Options{Policy: &retry.Policy{}})
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			t := newInstant()
			for pb.Next() {
				_, _ = loop.Do(ctx, in, t)
			}
		})
	})
	b.Run("one retry", func(b *testing.B) {
		loop := newLoop(b, retry.Options{Policy: &retry.Policy{
			Statuses: []int{200}, Backoff: retry.Backoff{Func: constant(0)}, Budget: retry.BudgetPolicy{Ratio: -1}}})
		t := newInstant()
		b.ReportAllocs()
		for b.Loop() {
			_, _ = loop.Do(ctx, in, t)
		}
	})
}
