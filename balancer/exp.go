package balancer

import "math"

const (
	// expMin is where exp stops: e^expMin is far below what any comparison
	// of latencies can tell from zero.
	expMin = -300
	expMax = 300
)

// exp returns e^x within one part in 100,000, at about half the cost of
// math.Exp. Beyond ±300 it returns its value there.
//
// x is split into a whole number of halvings or doublings, which is the
// exponent of the result, and a rest of at most ln(2)/2, for which the Padé
// approximant of order 2 is off by x⁵/720.
func exp(x float64) float64 {
	x = min(max(x, expMin), expMax)
	k := math.Floor(x*math.Log2E + 0.5)
	y := x - k*math.Ln2
	power := math.Float64frombits(uint64(1023+int64(k)) << 52)
	return power * (12 + y*(6+y)) / (12 - y*(6-y))
}
