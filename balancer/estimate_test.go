package balancer

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/tulle-mesh/tulle/outcome"
)

// Results of one endpoint must not slow down picks that look at another.
func TestEstimateFillsItsCacheLine(t *testing.T) {
	if n := unsafe.Sizeof(estimate{}); n != cacheLine {
		t.Errorf("%d bytes", n)
	}
}

// peakAverage is the average as Finagle describes it: a cost and when it was.
type peakAverage struct {
	cost, stamp, decay float64
}

func (a *peakAverage) at(t float64) float64 { return a.cost * math.Exp(-(t-a.stamp)/a.decay) }

func (a *peakAverage) add(sample, t float64, bound bool) {
	w := math.Exp(-(t - a.stamp) / a.decay)
	switch {
	case sample > a.cost*w:
		a.cost, a.stamp = sample, t
	case !bound:
		a.cost, a.stamp = a.cost*w+sample*(1-w), t
	}
}

func TestEstimateIsThePeakSensitiveAverage(t *testing.T) {
	// differ returns how far the two come apart, as a factor.
	differ := func(seed uint64, add func(e *estimate, sample float64, at int64, decay float64, bound bool)) (most float64) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		decay := float64(time.Second) * (1 + 20*rnd.Float64())
		e, model, at := &estimate{}, &peakAverage{decay: decay}, int64(rnd.Uint32())*1e6
		for range 300 {
			at += int64(math.Exp(4+18*rnd.Float64())) + 1
			sample, bound := math.Exp(8+12*rnd.Float64()), rnd.IntN(4) == 0
			add(e, sample, at, decay, bound)
			model.add(max(sample, 1000), float64(at), bound)
			got := math.Exp(math.Float64frombits(e.level.Load()) - float64(at)/decay)
			most = max(most, math.Abs(got/model.at(float64(at))-1))
		}
		return most
	}
	for seed := range uint64(100) {
		if d := differ(seed, (*estimate).add); !(d < 1e-6) {
			t.Errorf("seed %d: off by %g", seed, d)
		}
	}
	// Negative control: bounds taken for samples.
	worst := 0.0
	for seed := range uint64(100) {
		worst = max(worst, differ(seed, func(e *estimate, sample float64, at int64, decay float64, _ bool) {
			e.add(sample, at, decay, false)
		}))
	}
	if worst < 1e-3 {
		t.Errorf("bounds taken for samples make no more than %g", worst)
	}
}

func TestEstimateCountsNoLatencyBelowAMicrosecond(t *testing.T) {
	for _, sample := range []float64{-5, 0, 1, 999, 1000} {
		e := &estimate{}
		e.add(sample, 5, 1e9, false)
		if got := math.Exp(math.Float64frombits(e.level.Load()) - 5/1e9); math.Abs(got-1000) > 1e-6 {
			t.Errorf("%v ns count as %v", sample, got)
		}
	}
}

// A result that overtook another cannot lower what that one said.
func TestEstimateTakesResultsOutOfOrder(t *testing.T) {
	e := &estimate{}
	e.add(5e6, 2e9, 1e10, false)
	before := e.level.Load()
	e.add(1e6, 1e9, 1e10, false)
	e.add(1e6, 2e9, 1e10, false)
	if e.level.Load() != before {
		t.Error("a result from before lowers the average")
	}
	e.add(9e6, 1e9, 1e10, false)
	if e.level.Load() == before || e.at.Load() != 2e9 {
		t.Error("a peak from before is not seen")
	}
}

func TestEstimateWaits(t *testing.T) {
	const decay = 1000
	for _, c := range []struct {
		name string
		then func(*estimate)
		now  int64
		want float64
	}{
		{"silent", func(*estimate) {}, 500, 399},
		{"silent from before", func(*estimate) {}, 50, 0},
		{"silent for long", func(*estimate) {}, 101 + 8*decay, 8 * decay},
		{"forgotten", func(*estimate) {}, 102 + 8*decay, 0},
		{"another begun", func(e *estimate) { e.mark(300) }, 500, 399},
		{"ended itself", func(e *estimate) { e.settle(100, false) }, 500, 0},
		{"a later one answered", func(e *estimate) { e.settle(200, true) }, 500, 0},
		{"a later one ended", func(e *estimate) { e.settle(200, false) }, 500, 399},
		{"an earlier one answered", func(e *estimate) { e.settle(50, true) }, 500, 399},
		{"answered and begun anew", func(e *estimate) { e.settle(200, true); e.mark(300) }, 500, 199},
		{"observed cut off", func(e *estimate) {
			e.observe(outcome.Result{Latency: 200, Cut: true}, 400, decay, 0)
		}, 500, 399},
		{"observed answered", func(e *estimate) { e.observe(outcome.Result{Latency: 200}, 400, decay, 0) }, 500, 0},
	} {
		e := &estimate{}
		e.mark(100)
		if c.then(e); e.waited(c.now, decay) != c.want {
			t.Errorf("%s: waited %v, want %v", c.name, e.waited(c.now, decay), c.want)
		}
	}
}
