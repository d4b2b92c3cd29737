package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// plainJobs are jobs as one would write them down: each has what is left of
// it, and all of them are looked at whenever something happens.
type plainJobs struct {
	workers int
	sharing bool
	speed   float64
	left    map[*call]float64
	order   []*call
}

func (p *plainJobs) served() []*call {
	if p.sharing {
		return p.order
	}
	return p.order[:min(p.workers, len(p.order))]
}

func (p *plainJobs) rate() float64 {
	return p.speed * min(1, float64(p.workers)/float64(max(1, len(p.served()))))
}

func (p *plainJobs) next() (first *call, in float64) {
	in = math.Inf(1)
	for _, c := range p.served() {
		if at := p.left[c] / p.rate(); at < in {
			first, in = c, at
		}
	}
	return first, in
}

func (p *plainJobs) pass(ns float64) {
	rate := p.rate()
	for _, c := range p.served() {
		p.left[c] -= ns * rate
	}
}

func (p *plainJobs) remove(c *call) {
	delete(p.left, c)
	p.order = slices.DeleteFunc(p.order, func(o *call) bool { return o == c })
}

// Whatever comes, is given up, or changes the speed: jobs end when and in the
// order in which they would if each were followed for itself.
func TestJobsEndAsIfFollowed(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		workers, sharing := 1+rnd.IntN(4), seed%2 == 0
		j := jobs{workers: workers, sharing: sharing, speed: 1}
		p := plainJobs{workers: workers, sharing: sharing, speed: 1, left: map[*call]float64{}}
		now, ended := int64(0), 0
		for range 2000 {
			passes := int64(rnd.IntN(2000))
			// First what ends until then.
			for {
				at, ok := j.due(1)
				first, in := p.next()
				require.Equal(t, !math.IsInf(in, 1), ok, "seed %d", seed)
				if !ok || at > now+passes {
					break
				}
				require.InDelta(t, in, at-now, 2, "seed %d", seed)
				p.pass(float64(at - now))
				passes -= at - now
				now = at
				j.advance(now)
				c := j.next(1)
				require.NotNil(t, c)
				require.InDelta(t, 0, p.left[c], 2, "seed %d: %v is not the one that is done", seed, first.life)
				p.remove(c)
				ended++
			}
			p.pass(float64(passes))
			now += passes
			j.advance(now)
			switch what := rnd.IntN(10); {
			case what < 6:
				c := &call{work: rnd.ExpFloat64() * 1500 * float64(workers), life: rnd.Uint64()}
				p.left[c], p.order = c.work, append(p.order, c)
				j.add(c)
			case what < 8 && len(p.order) > 0:
				c := p.order[rnd.IntN(len(p.order))]
				p.remove(c)
				if c.place == queued {
					j.forget(c)
				} else {
					j.remove(c)
				}
			default:
				p.speed = float64(rnd.IntN(4)) / 2
				j.speed = p.speed
			}
		}
		require.Greater(t, ended, 300)
	}
}

// What is pushed comes out by time, and of one time in the order in which it
// went in.
func TestEventsComeInOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var q events
	for range 200 {
		for range rnd.IntN(200) {
			q.push(event{at: int64(rnd.IntN(50))})
		}
		last := event{at: -1}
		for range rnd.IntN(len(q.heap) + 1) {
			e := q.pop()
			require.True(t, last.before(&e))
			last = e
		}
	}
}
