package main

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBounds compares with sums over exact fractions: what lies beyond a
// bound is unlikely enough, and one count further in it no longer would be.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		n                    int
		numerator, thousands int64
		alarm                float64
	}{
		{400, 100, 1000, falseAlarm},
		{400, 500, 1000, falseAlarm},
		{400, 900, 1000, falseAlarm},
		{50, 333, 1000, 1e-3},
		{10, 10, 1000, 1e-6},
	} {
		p := big.NewRat(c.numerator, c.thousands)
		share, _ := p.Float64()
		t.Run(fmt.Sprintf("%d calls at %v", c.n, share), func(t *testing.T) {
			least, most := bounds(c.n, share, c.alarm)
			half := new(big.Rat).SetFloat64(c.alarm / 2)
			q := new(big.Rat).Sub(big.NewRat(1, 1), p)

			require.LessOrEqual(t, fewer(c.n, p, least).Cmp(half), 0)
			require.Positive(t, fewer(c.n, p, least+1).Cmp(half))
			require.LessOrEqual(t, fewer(c.n, q, c.n-most).Cmp(half), 0)
			require.Positive(t, fewer(c.n, q, c.n-most+1).Cmp(half))
		})
	}
}

func TestBoundsOfCertainty(t *testing.T) {
	least, most := bounds(100, 0, falseAlarm)
	require.Equal(t, [2]int{0, 0}, [2]int{least, most})
	least, most = bounds(100, 1, falseAlarm)
	require.Equal(t, [2]int{100, 100}, [2]int{least, most})
}

// fewer returns the probability of fewer than k hits among n.
func fewer(n int, p *big.Rat, k int) *big.Rat {
	q := new(big.Rat).Sub(big.NewRat(1, 1), p)
	sum := new(big.Rat)
	for i := range k {
		term := new(big.Rat).SetInt(new(big.Int).Binomial(int64(n), int64(i)))
		term.Mul(term, power(p, i)).Mul(term, power(q, n-i))
		sum.Add(sum, term)
	}
	return sum
}

func power(r *big.Rat, n int) *big.Rat {
	e := big.NewInt(int64(n))
	return new(big.Rat).SetFrac(new(big.Int).Exp(r.Num(), e, nil), new(big.Int).Exp(r.Denom(), e, nil))
}
