package retry

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBudgetEarnsByCallsAndByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(BudgetPolicy{})
		require.Equal(t, BudgetStats{Balance: 100}, b.Stats(), "ten seconds of the floor")
		for range 100 {
			require.True(t, b.spend())
		}
		require.False(t, b.spend())
		require.Equal(t, BudgetStats{Granted: 100, Refused: 1}, b.Stats())
		for range 5 {
			require.False(t, b.spend())
			b.call()
		}
		require.True(t, b.spend(), "five calls make a retry")
		require.False(t, b.spend())
		time.Sleep(100 * time.Millisecond)
		require.True(t, b.spend(), "and so does a tenth of a second")
		require.False(t, b.spend())
		b.refund()
		require.True(t, b.spend())
		time.Sleep(time.Hour)
		require.EqualValues(t, 100, b.Stats().Balance, "no more is saved up")
		for range 1000 {
			b.call()
		}
		require.EqualValues(t, 100, b.Stats().Balance)
	})
}

func TestBudgetPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := NewBudget(BudgetPolicy{MinPerSecond: -1})
		for range 10 {
			require.True(t, none.spend())
		}
		time.Sleep(time.Hour)
		require.False(t, none.spend(), "time earns nothing")
		unlimited := NewBudget(BudgetPolicy{Ratio: -1})
		for range 1000 {
			require.True(t, unlimited.spend())
			unlimited.call()
		}
		unlimited.refund()
		require.Equal(t, BudgetStats{Balance: -1, Granted: 999}, unlimited.Stats())
		tiny := NewBudget(BudgetPolicy{Ratio: 1e-9, MinPerSecond: -1})
		for range 10 {
			require.True(t, tiny.spend())
		}
		for range 1000 {
			tiny.call()
		}
		require.True(t, tiny.spend(), "not nothing")
	})
}

func TestLongTimesDoNotOverflow(t *testing.T) {
	b := NewBudget(BudgetPolicy{MinPerSecond: 1_000_000})
	for _, now := range []int64{int64(budgetWindow) - 1, int64(budgetWindow), math.MaxInt64} {
		amount, upTo := b.earned(0, now)
		require.Positive(t, amount)
		require.LessOrEqual(t, amount, b.limit)
		require.LessOrEqual(t, upTo, now)
	}
}

// TestTimeIsPaidForOnce asks at random moments, from nanoseconds to seconds
// apart, and compares with the time that passed.
func TestTimeIsPaidForOnce(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 2))
		b := NewBudget(BudgetPolicy{MinPerSecond: 1 + rng.IntN(3000)})
		mark, now, paid := int64(0), int64(0), int64(0)
		for range 500 {
			now += rng.Int64N(1 << rng.IntN(33))
			amount, upTo := b.earned(mark, now)
			require.GreaterOrEqual(t, upTo, mark)
			require.LessOrEqual(t, upTo, now)
			mark = upTo
			paid += amount
		}
		exact := float64(now) / float64(time.Second) * float64(b.perSecond)
		require.LessOrEqual(t, float64(paid), exact, "seed %d", seed)
		require.GreaterOrEqual(t, float64(paid), exact*0.99-1, "seed %d", seed)
	}
}

func TestBudgetNeverGrantsMoreThanItHasWhenManyAsk(t *testing.T) {
	b := NewBudget(BudgetPolicy{MinPerSecond: -1})
	const goroutines, calls = 8, 5000
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range calls {
				b.call()
				if b.spend() && rand.IntN(2) == 0 {
					b.refund()
				}
			}
		})
	}
	wg.Wait()
	s := b.Stats()
	require.LessOrEqual(t, float64(s.Granted)+s.Balance, 10+0.2*goroutines*calls+0.001)
	require.GreaterOrEqual(t, s.Balance, 0.0)
	require.Greater(t, s.Refused, uint64(0))
	require.Greater(t, float64(s.Granted), 0.2*goroutines*calls*0.9)
}

func TestBudgetFaults(t *testing.T) {
	require.Empty(t, BudgetPolicy{Ratio: 1, MinPerSecond: 1_000_000}.faults(""))
	require.Len(t, BudgetPolicy{Ratio: 1.1, MinPerSecond: 1_000_001}.faults(""), 2)
}
