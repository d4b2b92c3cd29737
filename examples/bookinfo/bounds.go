package main

import "math"

// falseAlarm is the most that a share may be missed by chance alone.
//
// All tasks together look at four shares that chance decides: in the steps of
// task "shifting" with n = 400 calls, p = 0.1 and p = 0.5, of "ejection" with n
// = 400, p = 1/3, and of "failover" with n = 1000, p = 0.7. The count of the
// other part follows from the first, so a run gives a false alarm with a
// probability of at most 4e-10. Everything else is expected always or never, or
// takes turns. What may be seen besides is bounded by how much time passes,
// with much to spare on a machine that is not busy.
//
// The other way round, a step meets its expectation without its policy by
// chance alone if none of its calls falls to one of three endpoints: with a
// probability of at most (1/3)^100 in "routing", (2/3)^400 in "shifting",
// (2/3)^200 in "retries" and (2/3)^100 in "failover", all below 1e-17. That at
// most half of 200 calls go where two of three endpoints are, in the last step
// of "failover", has one of 8e-7. That no POST is under way at any of three
// processes of ratings when it is killed, of the eight calls that each has at a
// time in "restart", has one of (1/2)^24, or 6e-8. Where no call at all is to
// come to a version, and its copies are counted, it cannot; nor where alerts
// are, or endpoints left out, of which there are none then.
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
