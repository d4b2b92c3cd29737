package main

import "math"

// falseAlarm is the most that a share may be missed by chance alone.
//
// All tasks together look at two shares that chance decides: in the steps of
// task "shifting" with n = 400 calls, p = 0.1 and p = 0.5. The count of the
// other part follows from the first, so a run gives a false alarm with a
// probability of at most 2e-10. Everything else is expected always or never:
// the users of "faults" take turns.
//
// The other way round, a step meets its expectation without its policy by
// chance alone if none of its calls falls to one of three endpoints: with a
// probability of at most (1/3)^100 in "routing", (2/3)^400 in "shifting" and
// (2/3)^200 in "retries", all below 1e-35. Where no call at all is to come to a
// version, and its copies are counted, it cannot.
const falseAlarm = 1e-10

// bounds returns the counts that n calls may come to of which each falls to a
// part with probability p: the number is binomial, and beyond either bound
// lies at most half of alarm.
func bounds(n int, p, alarm float64) (least, most int) {
	switch {
	case p <= 0:
		return 0, 0
	case p >= 1:
		return n, n
	}
	return lower(n, p, alarm/2), n - lower(n, 1-p, alarm/2)
}

// lower returns the least count that fewer than it have together at most the
// probability tail.
func lower(n int, p, tail float64) int {
	below := 0.0
	for k := range n {
		below += math.Exp(logChoose(n, k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
		if below > tail {
			return k
		}
	}
	return n
}

// logChoose returns the logarithm of n over k; the factorials themselves are
// far beyond what a float64 holds.
func logChoose(n, k int) float64 { return logFactorial(n) - logFactorial(k) - logFactorial(n-k) }

func logFactorial(n int) float64 {
	l, _ := math.Lgamma(float64(n) + 1)
	return l
}
