package overload_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// reported returns what callers read of the guard's report, as it travels.
func reported(t *testing.T, g *overload.Guard) endpoint.LoadReport {
	r, err := endpoint.ParseLoadReport(string(g.Report(nil).AppendText(nil)))
	require.NoError(t, err)
	return r
}

// Who is at the server is in its report, from the moment of the arrival until
// the end, in line or in: whatever their number, however they leave, and under
// Observe as well. To count only those that are in is not the same.
func TestReportCountsWhoeverIsThere(t *testing.T) {
	for _, mode := range []outcome.Mode{outcome.Enforce, outcome.Observe} {
		var missed, moments int // of the control
		for seed := range uint64(20) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				g := newGuard(t, overload.Policy{Mode: mode, MaxInFlight: 1 + rng.IntN(8), Waiting: 1 + rng.IntN(30), MaxWait: 20 * time.Millisecond})
				var present atomic.Int64
				var wg sync.WaitGroup
				for range 400 {
					patience, work := time.Duration(rng.IntN(40))*time.Millisecond, time.Duration(rng.IntN(10))*time.Millisecond
					wg.Go(func() {
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						present.Add(1)
						defer present.Add(-1)
						ticket, err := g.Enter(ctx)
						if err != nil {
							return
						}
						time.Sleep(work)
						ticket.Leave(true)
					})
					if rng.IntN(3) == 0 {
						time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
					}
					synctest.Wait()
					moments++
					require.EqualValues(t, present.Load(), reported(t, g).InFlight)
					if present.Load() != int64(g.Stats().InFlight) {
						missed++
					}
				}
				wg.Wait()
				require.Zero(t, g.Report(nil).InFlight)
				require.Zero(t, g.Stats().Waiting)
			})
		}
		if mode == outcome.Enforce {
			require.Greater(t, missed, moments/10, "the control: without those who wait")
		} else {
			require.Zero(t, missed, "nobody waits")
		}
	}
}

// From a report it can be told how long the next request will take, by as much
// as one service: s and, for each that is there beyond the places c, s/c more.
// With those in flight alone it cannot.
func TestReportForetellsTheDelay(t *testing.T) {
	const s, c = 40 * time.Millisecond, 4
	foretold := func(n float64) time.Duration {
		return s + time.Duration(max(0, n+1-c)*float64(s)/c)
	}
	var worst, control time.Duration
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		g := newGuard(t, overload.Policy{MaxInFlight: c, MaxWait: time.Minute})
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 2000 {
			// In turns more than it can do, and less.
			mean := 8 * time.Millisecond
			if i/200%2 == 0 {
				mean = 14 * time.Millisecond
			}
			time.Sleep(time.Duration(rng.ExpFloat64() * float64(mean)))
			synctest.Wait()
			r, begin := reported(t, g), time.Now()
			if i > 100 {
				assert.InDelta(t, s, r.ServiceTime, float64(time.Millisecond), "without the waiting")
			}
			alone := float64(g.Stats().InFlight)
			wg.Go(func() {
				ticket, err := g.Enter(t.Context())
				if !assert.NoError(t, err) {
					return
				}
				time.Sleep(s)
				ticket.Leave(true)
				took := time.Since(begin)
				mu.Lock()
				defer mu.Unlock()
				worst = max(worst, (took - foretold(r.InFlight)).Abs())
				control = max(control, (took - foretold(alone)).Abs())
			})
		}
		wg.Wait()
		require.NotZero(t, g.Stats().Waited)
	})
	t.Logf("off by at most %v, by those in flight alone %v", worst, control)
	assert.LessOrEqual(t, worst, s)
	assert.Greater(t, control, 3*s, "the control: without those who wait")
}
