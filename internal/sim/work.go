package sim

import (
	"math"
	"math/rand/v2"
	"time"
)

// Work is how much there is to do for a request: the time that it takes one
// worker of speed 1. The zero Work is exponential with a mean of 10 ms.
type Work struct {
	// Mean is the mean time. Zero means 10 ms.
	Mean time.Duration
	// Sigma makes the time lognormal: it is the standard deviation of its
	// logarithm. Zero is exponential, unless Constant.
	Sigma float64
	// Constant makes all requests take the mean.
	Constant bool
}

func (w Work) mean() float64 {
	if w.Mean <= 0 {
		return float64(10 * time.Millisecond)
	}
	return float64(w.Mean)
}

func (w Work) draw(r *rand.Rand) float64 {
	switch {
	case w.Constant:
		return w.mean()
	case w.Sigma > 0:
		return w.mean() * math.Exp(w.Sigma*r.NormFloat64()-w.Sigma*w.Sigma/2)
	default:
		return w.mean() * r.ExpFloat64()
	}
}

// Spells are times in which a server is slower than it is, for the sake of
// others on its machine, say. The zero Spells never come.
type Spells struct {
	// Mean is how long a spell lasts and Gap how long it is from the end of
	// one to the next, both exponential.
	Mean, Gap time.Duration
	// Low and High bound what the speed is multiplied by, which is drawn anew
	// for each spell.
	Low, High float64
}

func (s Spells) never() bool { return s.Mean <= 0 || s.Gap <= 0 }

// factor is what is left of the speed on the average.
func (s Spells) factor() float64 {
	if s.never() {
		return 1
	}
	part := float64(s.Mean) / float64(s.Mean+s.Gap)
	return 1 - part*(1-(s.Low+s.High)/2)
}

// WarmUp is what a server needs after its start until it is as fast as it can
// be: caches, pools, compilers. The zero WarmUp needs nothing.
type WarmUp struct {
	// For is how long it takes, From what part of the speed it begins with.
	For  time.Duration
	From float64
}
