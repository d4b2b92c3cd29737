//go:build !race

// These are many events in one goroutine: the race detector finds nothing in
// them that the other tests do not show it, and takes ten times as long.

package sim_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/internal/sim"
	"github.com/tulle-mesh/tulle/overload"
)

// alone is one server without a network, so that all that takes time is its
// queue and its work, 10 ms of it.
func alone(s sim.Server, load float64, w sim.Work) sim.Scenario {
	return sim.Scenario{
		Seed: 3, Servers: []sim.Server{s}, Load: load, Work: w, Delay: -1, Timeout: time.Hour,
		Chooser: sim.Central{}, Measure: time.Duration(500/load/float64(s.Workers)) * time.Second,
	}
}

// erlang returns the probabilities that a request finds all c workers busy at
// an offered load of a: where it is lost then (B), and where it waits (C).
func erlang(c int, a float64) (lost, waits float64) {
	b := 1.0
	for k := 1; k <= c; k++ {
		b = a * b / (float64(k) + a*b)
	}
	return b, b / (1 - a/float64(c)*(1-b))
}

// The time that a request spends at a server, in ms, is what queueing theory
// says.
func TestMeanTimes(t *testing.T) {
	const sigma = .83
	square := math.Exp(sigma * sigma) // of the work, in parts of its mean square
	enforced := &overload.Policy{MaxInFlight: 4, Waiting: 1 << 20, MaxWait: time.Minute}
	_, waits := erlang(4, 3.2)
	_, waitsLess := erlang(4, 2.4)
	lognormal, constant := sim.Work{Sigma: sigma}, sim.Work{Constant: true}
	for _, c := range []struct {
		name   string
		server sim.Server
		load   float64
		work   sim.Work
		want   float64
	}{
		{"M/M/1", sim.Server{Workers: 1}, .6, sim.Work{}, 10 / .4},
		{"M/D/1", sim.Server{Workers: 1}, .6, constant, 10 + 10*.6/2/.4},
		{"M/G/1", sim.Server{Workers: 1}, .6, lognormal, 10 + 10*.6*square/2/.4},
		{"M/M/4", sim.Server{Workers: 4}, .8, sim.Work{}, 10 + waits*10/.8},
		{"M/M/4 with the queue in the guard", sim.Server{Workers: 4, Guard: enforced}, .6, sim.Work{}, 10 + waitsLess*10/1.6},
		{"M/M/1 at half the speed", sim.Server{Workers: 1, Speed: .5}, .6, sim.Work{}, 20 / .4},
		{"sharing, exponential", sim.Server{Workers: 1, Sharing: true}, .6, sim.Work{}, 10 / .4},
		{"sharing, constant", sim.Server{Workers: 1, Sharing: true}, .6, constant, 10 / .4},
		{"sharing, lognormal", sim.Server{Workers: 1, Sharing: true}, .6, lognormal, 10 / .4},
		{"four workers shared", sim.Server{Workers: 4, Sharing: true}, .8, sim.Work{}, 10 + waits*10/.8},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := alone(c.server, c.load, c.work).Run(t)
			assert.InEpsilon(t, c.want, ms(r.Mean), .03)
			assert.Zero(t, r.Failed)
			t.Logf("%.3f, by theory %.3f", ms(r.Mean), c.want)
		})
	}
}

// Times at a single worker are exponential if the work is.
func TestQuantiles(t *testing.T) {
	r := alone(sim.Server{Workers: 1}, .6, sim.Work{}).Run(t)
	for q, got := range map[float64]time.Duration{.5: r.P50, .9: r.P90, .99: r.P99} {
		assert.InEpsilon(t, -math.Log(1-q)*10/.4, ms(got), .06, "%v", q)
	}
	assert.Less(t, r.P99, r.P999)
	assert.Less(t, r.P999, r.Max)
}

// Where none may wait as many are refused as Erlang says.
func TestLoss(t *testing.T) {
	lost, _ := erlang(4, 3.2)
	r := alone(sim.Server{Workers: 4, Guard: &overload.Policy{MaxInFlight: 4, Waiting: -1}}, .8, sim.Work{}).Run(t)
	assert.InEpsilon(t, lost, r.ErrorShare(), .04)
	assert.InEpsilon(t, 10, ms(r.Mean), .02, "of those that got in")
}

// As many are in as come in the time that one takes.
func TestLittlesLaw(t *testing.T) {
	r := sim.Scenario{
		Seed: 5, Servers: sim.Servers(10, sim.Server{Sharing: true}), Callers: 7, Load: .7, Delay: time.Millisecond,
		Chooser: sim.Balanced{Policy: balancer.Random{}}, Timeout: time.Hour, Measure: 20 * time.Second,
	}.Run(t)
	perServer := float64(r.Calls) / 10 / 20000 // in a ms
	assert.InEpsilon(t, perServer*(ms(r.Mean)-2), r.InFlight, .02)
}

// Of many servers with one worker each, one chosen by chance is M/M/1, the
// better of two gives Mitzenmacher's sum (The Power of Two Choices in
// Randomized Load Balancing, 1996), and the best of all hardly ever lets a
// request wait.
func TestChoices(t *testing.T) {
	const rho = .7
	run := func(c sim.Chooser) float64 {
		return ms(sim.Scenario{
			Seed: 7, Servers: sim.Servers(100, sim.Server{Workers: 1}), Callers: 3, Load: rho, Delay: -1,
			Timeout: time.Hour, Chooser: c, Warm: time.Second, Measure: 5 * time.Second,
		}.Run(t).Mean)
	}
	two := 0.0
	for i := 1; i < 10; i++ {
		two += 10 * math.Pow(rho, math.Pow(2, float64(i))-2)
	}
	assert.InEpsilon(t, 10/(1-rho), run(sim.Central{Choices: 1}), .05)
	assert.InEpsilon(t, two, run(sim.Central{Choices: 2}), .02)
	assert.InEpsilon(t, 10, run(sim.Central{}), .02)
}

// Who knows everything knows what is on the wire, and has no favourites.
func TestCentralKnowsTheWire(t *testing.T) {
	s := sim.Scenario{
		Seed: 7, Servers: sim.Servers(20, sim.Server{Workers: 1}), Load: .2, Delay: 20 * time.Millisecond,
		Work: sim.Work{Constant: true}, Chooser: sim.Central{},
	}
	r := s.Run(t)
	assert.InDelta(t, 50, ms(r.P99), 3, "hardly anybody waits")
	for _, n := range r.Picks {
		assert.InEpsilon(t, r.Calls/20, n, .2)
	}
}

// Spells slow down what they are said to slow down, and loads count them.
func TestSpells(t *testing.T) {
	s := sim.Server{Workers: 1, Sharing: true, Spells: sim.Spells{Mean: time.Second, Gap: time.Second, Low: .5, High: .5}}
	sc := alone(s, .05, sim.Work{Constant: true})
	sc.Measure = 2000 * time.Second
	r := sc.Run(t)
	// At this load hardly two meet: one request takes 10 ms or 20.
	assert.InDelta(t, 15.5, ms(r.Mean), .7)
	assert.InEpsilon(t, .05*75, float64(r.Calls)/sc.Measure.Seconds(), .05, "calls in a second")
}
