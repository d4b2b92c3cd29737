package sim

import (
	"math"
	"time"
)

// Central chooses with knowledge of all calls of all callers, those on the
// wire among them, and of each server how fast it is and whether it works at
// all: the bounds to which others are compared.
type Central struct {
	// Choices is how many servers are drawn to choose from. Zero is all, which
	// is central join-the-shortest-queue; two is an omniscient power of two
	// choices.
	Choices int
	// ByDelay takes the server at which a call is to be expected to take
	// least, by its speed and the calls for each worker; otherwise that with
	// the fewest calls for each worker, and of those the fastest.
	ByDelay bool
}

// New implements Chooser.
func (o Central) New(c *Caller) Picker { return &central{o, c, nil} }

type central struct {
	Central
	caller *Caller
	drawn  []int
}

// Pick implements Picker.
func (o *central) Pick(time.Time, uint64) int {
	best, bestCost, bestSpeed, ties := -1, 0.0, 0.0, 0
	for _, n := range o.draw() {
		cost, speed := o.cost(n)
		switch {
		case best < 0 || cost < bestCost || cost == bestCost && speed > bestSpeed:
			best, bestCost, bestSpeed, ties = n, cost, speed, 1
		case cost == bestCost && speed == bestSpeed:
			if ties++; o.caller.rnd.IntN(ties) == 0 {
				best = n
			}
		}
	}
	return best
}

func (o *central) cost(n int) (cost, speed float64) {
	s := o.caller.fleet.servers[n]
	speed = s.currentSpeed()
	workers := float64(s.workers())
	switch {
	case s.state != works || speed == 0:
		return math.Inf(1), 0
	case !o.ByDelay:
		return float64(s.assigned) / workers, speed
	}
	return (1 + max(0, float64(s.assigned)+1-workers)/workers) / speed, speed
}

// draw returns the servers to choose from.
func (o *central) draw() []int {
	usable := o.caller.usable
	if o.Choices <= 0 || o.Choices >= len(usable) {
		return usable
	}
	o.drawn = append(o.drawn[:0], usable...)
	for i := range o.Choices {
		j := i + o.caller.rnd.IntN(len(usable)-i)
		o.drawn[i], o.drawn[j] = o.drawn[j], o.drawn[i]
	}
	return o.drawn[:o.Choices]
}
