package balancer

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestExpIsWithinItsBound(t *testing.T) {
	const bound = 1e-5
	worst := func(f func(float64) float64) (off, at float64) {
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range 400_000 {
			x := float64(i)/2000 - 100
			if i%2 == 0 {
				x = rnd.Float64()*600 - 300
			}
			if d := math.Abs(f(x)/math.Exp(x) - 1); !(d <= off) {
				off, at = d, x
			}
		}
		return off, at
	}
	off, at := worst(exp)
	t.Logf("at most %.2g off, at %v", off, at)
	if !(off <= bound) {
		t.Errorf("off by %g at %v", off, at)
	}
	// Negative control: the exponent alone.
	if off, _ := worst(func(x float64) float64 { return math.Exp2(math.Round(x * math.Log2E)) }); off <= bound {
		t.Error("powers of two pass")
	}
}

func TestExpAtItsEnds(t *testing.T) {
	for _, x := range []float64{expMax, 1e9, math.MaxFloat64, math.Inf(1)} {
		if got := exp(x); got != exp(expMax) || math.IsInf(got, 0) {
			t.Errorf("exp(%v) = %v", x, got)
		}
		if got := exp(-x); got != exp(expMin) || got <= 0 {
			t.Errorf("exp(%v) = %v", -x, got)
		}
	}
	if got := exp(0); got != 1 {
		t.Errorf("exp(0) = %v", got)
	}
}

func BenchmarkExp(b *testing.B) {
	for name, f := range map[string]func(float64) float64{"own": exp, "math": math.Exp} {
		b.Run(name, func(b *testing.B) {
			x, sum := 0.0, 0.0
			for b.Loop() {
				x += 0.01
				sum += f(x - 20)
				if x > 25 {
					x = 0
				}
			}
		})
	}
}
