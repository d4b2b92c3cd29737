package ratelimit_test

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/ratelimit"
)

// New either refuses a policy or makes a limiter that lets the burst through
// and no more: no rate divides by zero or overflows.
func FuzzPolicy(f *testing.F) {
	f.Add(int64(1), int64(0), int64(0), int64(0), int64(0))
	f.Add(int64(2_000_000_000), int64(time.Second), int64(1), int64(1), int64(5))
	f.Add(int64(1), int64(366*24*time.Hour), int64(10), int64(3), int64(1)<<59)
	f.Add(int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MaxInt64))
	f.Add(int64(1)<<60, int64(366*24*time.Hour), int64(1)<<62, int64(1)<<61, int64(-1))
	f.Fuzz(func(t *testing.T, requests, period, burst, cost, at int64) {
		p := ratelimit.Policy{Requests: requests, Period: time.Duration(period), Burst: burst, Cost: cost}
		l, err := ratelimit.New(ratelimit.Config{Policies: []ratelimit.Policy{p}})
		if err != nil {
			return
		}
		p = p.Effective()
		r := &http.Request{}
		now := time.Now().Add(time.Duration(at % (1 << 60)))
		if d := l.Take(r, p.Burst/p.Cost, now); !d.Allowed || d.Remaining != p.Burst%p.Cost || d.Reset < 0 {
			t.Fatalf("%+v: the burst: %+v", p, d)
		}
		d := l.Take(r, p.Burst/p.Cost, now)
		if d.Allowed || d.RetryAfter <= 0 {
			t.Fatalf("%+v: beyond the burst: %+v", p, d)
		}
		if d := l.Take(r, p.Burst/p.Cost, now.Add(d.RetryAfter)); !d.Allowed && at < 1<<58 {
			t.Fatalf("%+v: when it was told: %+v", p, d)
		}
	})
}
