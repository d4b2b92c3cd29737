package overload_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// battered sends requests of all fates through a middleware: served, failing,
// panicking, aborted, cancelled at any moment.
func battered(t *testing.T, wrap func(http.Handler) http.Handler, seed uint64) (most int64) {
	var inside, peak atomic.Int64
	handler := wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := inside.Add(1)
		defer inside.Add(-1)
		for m := peak.Load(); n > m && !peak.CompareAndSwap(m, n); m = peak.Load() {
		}
		switch r.Header.Get("Fate") {
		case "fail":
			w.WriteHeader(http.StatusInternalServerError)
		case "panic":
			panic("on purpose")
		case "abort":
			panic(http.ErrAbortHandler)
		case "late panic":
			w.WriteHeader(http.StatusOK)
			panic("on purpose")
		}
	}))
	fates := []string{"serve", "fail", "panic", "abort", "late panic"}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(g)))
			for range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(300))*time.Microsecond)
				r := httptest.NewRequest("GET", "/", http.NoBody).WithContext(ctx)
				r.Header.Set("Fate", fates[rng.IntN(len(fates))])
				func() {
					defer func() { _ = recover() }()
					handler.ServeHTTP(httptest.NewRecorder(), r)
				}()
				cancel()
			}
		})
	}
	wg.Wait()
	return peak.Load()
}

// Whatever becomes of requests, there are never too many in, and no place is
// lost.
func TestPlacesAreNeitherLostNorDoubled(t *testing.T) {
	for name, p := range map[string]overload.Policy{
		"fixed":      {MaxInFlight: 3, Waiting: 5, MaxWait: 100 * time.Microsecond},
		"long waits": {MaxInFlight: 3, MaxWait: time.Second},
		"no waiting": {MaxInFlight: 3, Waiting: -1},
		"adaptive":   {Adaptive: overload.Adaptive{Max: 3}, MaxWait: 100 * time.Microsecond},
		"observed":   {Mode: outcome.Observe, MaxInFlight: 3},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				g := newGuard(t, p)
				most := battered(t, g.Middleware, seed)
				s := g.Stats()
				assert.Zero(t, s.InFlight, "seed %d", seed)
				assert.Zero(t, s.Waiting)
				if p.Mode == outcome.Enforce {
					assert.LessOrEqual(t, most, int64(3))
					assert.LessOrEqual(t, s.Peak, 3)
				}
				// All places can be had again.
				for range 3 {
					enter(t, g)
				}
				assert.Equal(t, 3, g.Stats().InFlight)
			}
		})
	}
}

// The negative control: the limiter as it comes, with its permit given back
// when the handler has returned.
func TestUndeferredPermitsAreLost(t *testing.T) {
	limiter := adaptivelimiter.NewBuilder[any]().WithLimits(1, 3, 3).Build()
	battered(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if permit, ok := limiter.TryAcquirePermit(); ok {
				next.ServeHTTP(w, r)
				permit.Record()
			}
		})
	}, 0)
	assert.Equal(t, 3, limiter.Inflight())
}
