package histogram

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var start = time.Unix(1_000_000_000, 0)

// A duration lies below the upper edge of its bin and at or above that of the
// bin before, and bins are no wider than an eighth.
func TestBinsAreNarrow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		d := time.Duration(rng.Uint64() >> (64 - 12 - rng.UintN(24)))
		if d < 1<<minShift {
			require.Zero(t, bin(d))
			continue
		}
		i := bin(d)
		require.Less(t, d, edge(i), "above")
		if i > 0 {
			require.GreaterOrEqual(t, d, edge(i-1), "below")
			require.LessOrEqual(t, float64(edge(i)-edge(i-1)), float64(d)/8*1.0001, "width")
		}
	}
	require.Equal(t, bins-1, bin(time.Hour))
	require.Zero(t, bin(-time.Second))
}

func TestQuantileAgreesWithSorting(t *testing.T) {
	h := New(start)
	rng := rand.New(rand.NewPCG(3, 4))
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(rng.ExpFloat64() * float64(10*time.Millisecond))
		all = append(all, d)
		h.Record(d, start)
	}
	slices.Sort(all)
	for _, q := range []float64{.5, .9, .95, .99} {
		exact, got := all[int(q*float64(len(all)))], h.Quantile(q, start)
		require.InEpsilon(t, exact, got, 1.0/7, "quantile %v", q)
	}
}

func TestOldValuesAreForgotten(t *testing.T) {
	now := start
	h := New(now)
	h.Record(time.Second, now)
	require.EqualValues(t, 1, h.Count(now.Add(Span)), "the window before still counts")
	h.Record(time.Millisecond, now.Add(Span))
	require.EqualValues(t, 2, h.Count(now.Add(Span)))
	require.EqualValues(t, 1, h.Count(now.Add(2*Span)), "the first value is gone")
	require.Less(t, h.Quantile(.99, now.Add(2*Span)), 2*time.Millisecond)
	require.Zero(t, h.Count(now.Add(10*Span)))
	require.Zero(t, h.Quantile(.5, now.Add(10*Span)))
}

func TestRecordFromManyGoroutines(t *testing.T) {
	h := New(start)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				h.Record(time.Millisecond, start)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 8000, h.Count(start))
}

func BenchmarkRecord(b *testing.B) {
	h := New(start)
	b.ReportAllocs()
	for b.Loop() {
		h.Record(time.Millisecond, start)
	}
}
