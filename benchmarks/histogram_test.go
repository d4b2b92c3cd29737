package benchmarks

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/internal/histogram"
)

// histograms count how long calls took. The durations are those of one
// exponential distribution of mean 10 ms.
func histograms() []counting {
	return []counting{
		{"tulle", func(testing.TB) (func(time.Duration), func() int) {
			now := time.Now()
			h := histogram.New(now)
			return func(d time.Duration) { h.Record(d, now) }, func() int { return int(h.Count(now)) }
		}},
		{"prometheus,_11_buckets", func(tb testing.TB) (func(time.Duration), func() int) {
			return observed(tb, prometheus.HistogramOpts{Name: "h", Buckets: prometheus.DefBuckets})
		}},
		{"prometheus,_native", func(tb testing.TB) (func(time.Duration), func() int) {
			return observed(tb, prometheus.HistogramOpts{Name: "h", NativeHistogramBucketFactor: 1.1})
		}},
		{"HdrHistogram_and_a_mutex", func(tb testing.TB) (func(time.Duration), func() int) {
			h := hdrhistogram.New(int64(time.Microsecond), int64(2*time.Minute), 2)
			var mu sync.Mutex
			return func(d time.Duration) {
				mu.Lock()
				_ = h.RecordValue(int64(d)) // fails above two minutes only
				mu.Unlock()
			}, func() int { return int(h.TotalCount()) }
		}},
	}
}

// counting is a histogram that says how many values it has.
type counting struct {
	name  string
	start func(testing.TB) (record func(time.Duration), count func() int)
}

func observed(tb testing.TB, o prometheus.HistogramOpts) (func(time.Duration), func() int) {
	h := prometheus.NewHistogram(o)
	return func(d time.Duration) { h.Observe(d.Seconds()) }, func() int {
		var m dto.Metric
		require.NoError(tb, h.Write(&m))
		return int(m.GetHistogram().GetSampleCount())
	}
}

var durations = func() (all [1024]time.Duration) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range all {
		all[i] = time.Duration(rng.ExpFloat64() * float64(10*time.Millisecond))
	}
	return all
}()

func BenchmarkHistogram(b *testing.B) {
	var parts []part
	for _, h := range histograms() {
		parts = append(parts, part{"", h.name, func(tb testing.TB, _ int) asked {
			record, _ := h.start(tb)
			return alone(func(i int) (string, error) { record(durations[i%len(durations)]); return "", nil })
		}})
	}
	benchmarkParts(b, parts, partCase{name: "serial"}, partCase{name: "parallel", goroutines: 1})
}

// Each histogram counts every value, from many goroutines too.
func TestHistograms(t *testing.T) {
	for _, h := range histograms() {
		t.Run(h.name, func(t *testing.T) {
			record, count := h.start(t)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for _, d := range durations {
						record(d)
					}
				})
			}
			wg.Wait()
			require.Equal(t, 4*len(durations), count())
		})
	}
}
