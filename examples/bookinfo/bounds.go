package main

import "math"

// falseAlarm is the most that a step of a task may fail by chance alone.
//
// The steps of all tasks take fewer than ten shares that chance decides, each
// split in two counted once, since one count follows from the other. A tenth
// of a billionth for each keeps a whole run below one false alarm in a
// billion; and with a seed there is no chance left at all.
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
