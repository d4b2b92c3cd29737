package benchmarks

import (
	"context"
	"errors"
	"testing"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/tulle-mesh/tulle/breaker"
)

// bounds let so many through at once; while they are measured there is always
// a place.
func bounds() []bound {
	return []bound{
		{"tulle", func(tb testing.TB) (turn, func() bool, func()) {
			l, err := breaker.NewLimiter(breaker.Limit{InFlight: placesInFlight})
			require.NoError(tb, err)
			ctx := context.Background()
			var taken []breaker.Slot
			return func(int) (string, error) {
					slot, err := l.Acquire(ctx)
					slot.Release()
					return "", err
				}, func() bool {
					slot, err := l.Acquire(ctx)
					taken = append(taken, slot)
					return err == nil
				}, func() { taken[0].Release() }
		}},
		{"channel", func(testing.TB) (turn, func() bool, func()) {
			c := make(chan struct{}, placesInFlight)
			take := func() bool {
				select {
				case c <- struct{}{}:
					return true
				default:
					return false
				}
			}
			return func(int) (string, error) {
				select {
				case c <- struct{}{}:
					<-c
					return "", nil
				default:
					return "", errFull
				}
			}, take, func() { <-c }
		}},
		{"semaphore", func(testing.TB) (turn, func() bool, func()) {
			s := semaphore.NewWeighted(placesInFlight)
			return func(int) (string, error) {
				if !s.TryAcquire(1) {
					return "", errFull
				}
				s.Release(1)
				return "", nil
			}, func() bool { return s.TryAcquire(1) }, func() { s.Release(1) }
		}},
		{"failsafe_bulkhead", func(testing.TB) (turn, func() bool, func()) {
			b := bulkhead.New[any](placesInFlight)
			return func(int) (string, error) {
				if !b.TryAcquirePermit() {
					return "", errFull
				}
				b.ReleasePermit()
				return "", nil
			}, b.TryAcquirePermit, b.ReleasePermit
		}},
		{"failsafe_bulkhead,_executor", func(testing.TB) (turn, func() bool, func()) {
			b := bulkhead.New[any](placesInFlight)
			e, call := failsafe.With[any](b), func() error { return nil }
			return func(int) (string, error) { return "", e.Run(call) }, b.TryAcquirePermit, b.ReleasePermit
		}},
	}
}

// bound is a limit whose places can also be taken and given back.
type bound struct {
	name  string
	start func(testing.TB) (t turn, take func() bool, give func())
}

var errFull = errors.New("no place")

func BenchmarkLimit(b *testing.B) {
	var parts []part
	for _, l := range bounds() {
		parts = append(parts, part{"", l.name, func(tb testing.TB, _ int) asked {
			t, _, _ := l.start(tb)
			return alone(t)
		}})
	}
	benchmarkParts(b, parts, partCase{name: "serial"},
		partCase{name: "parallel", goroutines: 1}, partCase{name: "parallel_x64", goroutines: 64})
}

// Each limit refuses exactly when its places are taken.
func TestLimits(t *testing.T) {
	for _, l := range bounds() {
		t.Run(l.name, func(t *testing.T) {
			call, take, give := l.start(t)
			for range placesInFlight {
				require.True(t, take())
			}
			_, err := call(0)
			require.Error(t, err)
			give()
			for i := range 3 {
				_, err = call(i)
				require.NoError(t, err)
			}
		})
	}
}
