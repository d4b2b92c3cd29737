// Chance without concurrency: the race detector would only take its time.

//go:build !race

package balancer_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// Of ten endpoints one is twenty times slower and one fails fast.
func TestPeakEWMATurnsAwayFromSlowAndFailingEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		share := func(p balancer.Policy, perEndpoint float64) (slow, failing float64) {
			const calls, n = 20000, 10
			for seed := range uint64(3) {
				s := newSimulation(n, perEndpoint, seed)
				s.slow[s.eps[3]] = 20
				s.slow[s.eps[7]], s.failing[s.eps[7]] = 0.05, true
				pick := s.use(p)
				s.run(2000, pick, nil)
				picks := s.shares(calls, pick)
				slow += float64(picks[s.eps[3]]) * n / calls / 3
				failing += float64(picks[s.eps[7]]) * n / calls / 3
			}
			t.Logf("%.1f in flight at each: %-21T gives the slow one %.3f and the failing one %.3f of a fair share", perEndpoint, p, slow, failing)
			return slow, failing
		}
		for _, load := range []float64{0.2, 1, 5} {
			slow, failing := share(balancer.PeakEWMA{}, load)
			// Where both are drawn, once in 45 picks, one of them is taken:
			// that is 0.22 of a fair share between them.
			if slow > 0.23 || failing > 0.23 || slow+failing > 0.25 {
				t.Errorf("load %v: %.3f of the fair share at the slow one, %.3f at the one that fails", load, slow, failing)
			}
			// Controls: what fails fast has little in flight, which draws
			// calls to it; chance sees nothing.
			if _, failing := share(balancer.LeastRequest{}, load); failing < 1 {
				t.Errorf("load %v: least request keeps away from what fails: %.3f", load, failing)
			}
			if slow, failing := share(balancer.Random{}, load); slow < 0.9 || failing < 0.9 {
				t.Errorf("load %v: chance turns away: %.3f, %.3f", load, slow, failing)
			}
		}
		// With next to nothing in flight there is only latency to go by.
		if slow, _ := share(balancer.LeastRequest{}, 0.02); slow < 0.5 {
			t.Errorf("least request keeps away from an idle slow one: %.3f", slow)
		}
		if slow, _ := share(balancer.PeakEWMA{}, 0.02); slow > 0.25 {
			t.Errorf("%.3f of the fair share at an idle slow one", slow)
		}
	})
}

// An endpoint that stops to answer is left before any result tells of it.
func TestPeakEWMALeavesASilentEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := func(timed bool) (n int) {
			for seed := range uint64(10) {
				s := newSimulation(10, 5, seed)
				b := balancer.PeakEWMA{}.New(balancer.Env{})
				picker := b.Update(s.eps)
				s.observe = b.(balancer.Observer).Observe
				pick := func(f *fleet, rnd *rand.Rand) *endpoint.Endpoint {
					q := balancer.Query{Draw: rnd.Uint64()}
					if timed {
						q.Now = clock(s.now)
					}
					return picker.Pick(q)
				}
				s.run(5000, pick, nil)
				s.silent[s.eps[2]] = true
				n += s.run(20000, pick, s.eps[2])
			}
			return n
		}
		with, without := stuck(true), stuck(false)
		t.Logf("%d calls lost with the time known, %d without", with, without)
		if float64(with) > 0.7*float64(without) {
			t.Errorf("%d calls went to silent endpoints, %d if their silence is not seen", with, without)
		}
	})
}

// duel is two endpoints under one PeakEWMA, the second answering in ms.
type duel struct {
	*fleet
	b      balancer.Balancer
	picker balancer.Picker
	now    time.Time
}

func newDuel(p balancer.PeakEWMA) *duel {
	d := &duel{fleet: newFleet(2, nil), b: p.New(balancer.Env{}), now: time.Now()}
	d.picker = d.b.Update(d.eps)
	return d
}

func (d *duel) result(i int, class outcome.Class, latency time.Duration) outcome.Result {
	return outcome.Result{Outcome: outcome.Outcome{Class: class}, At: d.now, Latency: latency}
}

func (d *duel) tell(i int, r outcome.Result) { d.b.(balancer.Observer).Observe(d.eps[i], r) }

func (d *duel) ok(i int, latency time.Duration) { d.tell(i, d.result(i, outcome.Success, latency)) }

// prefers returns which endpoint is picked whichever is drawn first, or -1 if
// that decides.
func (d *duel) prefers() int {
	picks := [2]int{}
	for draw := range uint64(64) {
		if d.picker.Pick(balancer.Query{Draw: draw, Now: d.now}) == d.eps[0] {
			picks[0]++
		} else {
			picks[1]++
		}
	}
	switch {
	case picks[0] == 0:
		return 1
	case picks[1] == 0:
		return 0
	}
	return -1
}

func (d *duel) want(t *testing.T, want int, why string) {
	t.Helper()
	if got := d.prefers(); got != want {
		t.Errorf("%s: prefers %d, want %d", why, got, want)
	}
}

func TestPeakEWMARisesAtOnceAndFallsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuel(balancer.PeakEWMA{})
		d.want(t, -1, "nothing known")
		d.ok(0, 10*ms)
		d.want(t, -1, "nothing known of one")
		d = newDuel(balancer.PeakEWMA{})
		d.ok(1, 10*ms)
		d.want(t, -1, "nothing known of the other")
		d.controls[d.eps[0]].Begin()
		d.want(t, 1, "nothing known of the other, which is busy")
		d = newDuel(balancer.PeakEWMA{})
		d.ok(0, 10*ms)
		d.ok(1, 40*ms)
		d.want(t, 0, "10 ms against 40")
		d.ok(0, 100*ms)
		d.want(t, 1, "one peak of 100 ms")
		d.now = d.now.Add(time.Second)
		d.ok(0, 10*ms)
		d.ok(1, 40*ms)
		d.want(t, 1, "a second and a fast answer later")
		for range 40 {
			d.now = d.now.Add(time.Second)
			d.ok(0, 10*ms)
			d.ok(1, 40*ms)
		}
		d.want(t, 0, "forty seconds later")
		// 100 ms fall to 40 in 9.2 s and to 36.8 in 10.
		for after, want := range map[time.Duration]int{9 * time.Second: 1, 10 * time.Second: 0} {
			d := newDuel(balancer.PeakEWMA{})
			d.ok(0, 100*ms)
			d.now = d.now.Add(after)
			d.ok(1, 40*ms)
			d.want(t, want, after.String()+" after the peak")
		}
		d = newDuel(balancer.PeakEWMA{Decay: time.Second})
		d.ok(0, 100*ms)
		d.now = d.now.Add(time.Second)
		d.ok(1, 40*ms)
		d.want(t, 0, "one second after the peak, where Decay is as much")
	})
}

func TestPeakEWMACountsCallsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuel(balancer.PeakEWMA{})
		d.ok(0, 10*ms)
		d.ok(1, 25*ms)
		for range 3 {
			d.want(t, 0, "10 ms each against 25")
			d.controls[d.eps[0]].Begin()
			if d.eps[0].InFlight() == 2 {
				break
			}
		}
		d.want(t, 1, "three times 10 ms against 25")
	})
}

func TestPeakEWMAJudgesResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		result := func(change func(*outcome.Result)) func(*duel) {
			return func(d *duel) {
				r := d.result(0, outcome.Success, ms)
				change(&r)
				d.tell(0, r)
			}
		}
		for _, c := range []struct {
			name string
			tell func(*duel)
			want int // with 50 ms at the first and 100 ms at the second before
		}{
			{"nothing", func(*duel) {}, 0},
			{"a fast failure", result(func(r *outcome.Result) { r.Class = outcome.ServerError }), 1},
			{"a refused connection", result(func(r *outcome.Result) { r.Class = outcome.Connect }), 1},
			{"asked for less", result(func(r *outcome.Result) { r.Class = outcome.Overload }), 1},
			{"failed late", result(func(r *outcome.Result) { r.Class, r.Late = outcome.Reset, true }), 1},
			{"a load report, late", result(func(r *outcome.Result) {
				r.Class, r.Was, r.Late, r.Reported = outcome.Reset, outcome.Reset, true, true
			}), 0},
			{"late, and long", result(func(r *outcome.Result) { r.Late, r.Latency = true, time.Second }), 0},
			{"neutral, and long", result(func(r *outcome.Result) { r.Class, r.Latency = outcome.Neutral, time.Second }), 0},
			{"cut off after long", result(func(r *outcome.Result) { r.Cut, r.Latency = true, time.Second }), 1},
			{"cut off soon", result(func(r *outcome.Result) { r.Cut = true }), 0},
			{"timed out", result(func(r *outcome.Result) { r.Cut, r.Class = true, outcome.Timeout }), 1},
			{"no time at all", result(func(r *outcome.Result) { r.Latency = -1 }), 0},
		} {
			d := newDuel(balancer.PeakEWMA{})
			d.ok(0, 50*ms)
			d.ok(1, 100*ms)
			c.tell(d)
			d.want(t, c.want, c.name)
		}
		// What must not lower the average does not, where a success would.
		for name, lowers := range map[string]func(*outcome.Result){
			"success": func(*outcome.Result) {},
			"cut off": func(r *outcome.Result) { r.Cut = true },
			"failed":  func(r *outcome.Result) { r.Class = outcome.ServerError },
			"neutral": func(r *outcome.Result) { r.Class = outcome.Neutral },
		} {
			d := newDuel(balancer.PeakEWMA{FailurePenalty: 2 * ms})
			d.ok(0, 150*ms)
			d.now = d.now.Add(3 * time.Second) // 111 ms are left
			d.ok(1, 125*ms)
			d.want(t, 0, name+": falls by time alone")
			d = newDuel(balancer.PeakEWMA{FailurePenalty: 2 * ms})
			d.ok(0, 150*ms)
			for range 30 {
				d.now = d.now.Add(100 * ms)
				result(lowers)(d)
			}
			d.ok(1, 108*ms)
			// A success adds its own part, so that the average ends higher
			// than one that falls towards nothing, by less than the sample.
			d.want(t, 1, name+": 111 ms and no more than the sample")
			d = newDuel(balancer.PeakEWMA{FailurePenalty: 2 * ms})
			d.ok(0, 150*ms)
			for range 30 {
				d.now = d.now.Add(100 * ms)
				result(lowers)(d)
			}
			d.ok(1, 113*ms)
			d.want(t, 0, name+": no more than time and the sample make it")
		}
	})
}

func TestPeakEWMAFailurePenalty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 5 s fall to 1 ms in 85.2 s and to 1 s in 16.1 s; half as long an
		// average takes one Decay times ln 2 less.
		for _, c := range []struct {
			policy  balancer.PeakEWMA
			latency time.Duration
			until   time.Duration
		}{
			{balancer.PeakEWMA{}, ms, 85 * time.Second},
			{balancer.PeakEWMA{}, time.Second, 16 * time.Second},
			{balancer.PeakEWMA{FailurePenalty: 50 * ms}, ms, 39 * time.Second},
			{balancer.PeakEWMA{Decay: time.Second}, ms, 8500 * ms},
		} {
			for after, want := range map[time.Duration]int{c.until: 1, c.until + c.until/50: 0} {
				d := newDuel(c.policy)
				d.tell(0, d.result(0, outcome.Gateway, ms))
				d.now = d.now.Add(after)
				d.ok(1, c.latency)
				d.want(t, want, after.String())
			}
		}
	})
}

func TestPeakEWMASeesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The first is the faster and is picked; what then?
		for _, c := range []struct {
			name string
			then func(d *duel, begun time.Time)
			want int
		}{
			{"not a word", func(*duel, time.Time) {}, 1},
			{"a later one answered", func(d *duel, _ time.Time) { d.ok(0, 10*ms) }, 0},
			{"given up by the caller", func(d *duel, begun time.Time) {
				r := d.result(0, outcome.Neutral, d.now.Sub(begun))
				r.Cut = true
				d.tell(0, r)
			}, 0},
			{"a later one given up", func(d *duel, begun time.Time) {
				r := d.result(0, outcome.Neutral, ms)
				r.Cut = true
				d.tell(0, r)
			}, 1},
			{"ended unobserved", func(d *duel, _ time.Time) { d.controls[d.eps[0]].End() }, 0},
			{"forgotten", func(d *duel, _ time.Time) { d.now = d.now.Add(80 * time.Second); d.ok(0, 10*ms); d.ok(1, 60*ms) }, 0},
		} {
			d := newDuel(balancer.PeakEWMA{})
			d.ok(0, 10*ms)
			d.ok(1, 60*ms)
			d.now = d.now.Add(ms)
			begun := d.now
			d.want(t, 0, "idle")
			d.controls[d.eps[0]].Begin()
			d.controls[d.eps[1]].Begin()
			d.now = d.now.Add(30 * ms)
			d.want(t, 0, c.name+", after 30 ms")
			d.now = d.now.Add(270 * ms)
			c.then(d, begun)
			d.want(t, c.want, c.name)
		}
	})
}

// An endpoint that was held back comes back with what was known of it; one
// that was removed does not, nor does one that was away for long.
func TestPeakEWMARemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name string
			away time.Duration
			hold endpoint.Hold
			want int
		}{
			{"ejected", time.Second, endpoint.Ejected, 1},
			{"removed", time.Second, endpoint.Removed, -1},
			{"away for long", 81 * time.Second, endpoint.Ejected, -1},
		} {
			d := newDuel(balancer.PeakEWMA{})
			d.ok(1, 100*time.Microsecond)
			d.tell(0, d.result(0, outcome.Gateway, time.Minute))
			d.want(t, 1, "failed")
			d.controls[d.eps[0]].Hold(c.hold, "", d.now)
			d.picker = d.b.Update(d.eps[1:])
			d.now = d.now.Add(c.away)
			d.ok(1, 100*time.Microsecond)
			d.b.Update(d.eps[1:])
			d.picker = d.b.Update(d.eps)
			d.want(t, c.want, c.name)
		}
	})
}

func TestPeakEWMAFollowsWeightsAtEqualCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ws := range [][]uint32{{1, 3}, {100, 300}, {1, 2, 3, 4, 5, 5, 4, 3, 2, 1}} {
			f := newFleet(len(ws), weights(ws...))
			s := &simulation{fleet: f}
			pick := s.use(balancer.PeakEWMA{})
			for _, ep := range f.eps {
				s.observe(ep, outcome.Result{Outcome: outcome.Outcome{Class: outcome.Success}, At: clock(0), Latency: ms})
			}
			if x := chiSquare(f.count(pick, 2, 100000), ws); x > 27.9 {
				t.Errorf("%v: χ² %.1f", ws, x)
			}
			// Negative control: a cost divided by the weight and nothing more
			// takes the heavier of each two.
			heavier := func(f *fleet, rnd *rand.Rand) *endpoint.Endpoint {
				a, b := pick(f, rnd), pick(f, rnd)
				if a.Weight() < b.Weight() {
					return b
				}
				return a
			}
			if chiSquare(f.count(heavier, 2, 100000), ws) <= 27.9 {
				t.Errorf("%v: shares beyond the weights pass", ws)
			}
		}
	})
}

// As with LeastRequest: who has fewer calls for its weight only until the call
// is added does not draw it.
func TestPeakEWMAFollowsWeightsWithFewInFlight(t *testing.T) {
	const picks = 20000
	f := newFleet(2, weights(1, 9)).busy(func(i int) int { return 5 * i })
	if counts := f.count(real(balancer.PeakEWMA{}, f), 4, picks); !within(counts[0], picks, 0.1) {
		t.Errorf("the light one was taken %d times in %d", counts[0], picks)
	}
	f.busy(func(i int) int { return 5 * i })
	if counts := f.count(real(balancer.PeakEWMA{}, f), 4, picks); counts[1] > 0 {
		t.Errorf("the heavy one was taken %d times with ten calls in flight, the light one having none", counts[1])
	}
}

func TestPeakEWMAValidate(t *testing.T) {
	for _, p := range []balancer.PeakEWMA{{}, {Decay: ms}, {Decay: time.Hour, FailurePenalty: 1}} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	err := balancer.PeakEWMA{Decay: ms - 1, FailurePenalty: -1}.Validate()
	if err == nil || !strings.Contains(err.Error(), "decay: ") || !strings.Contains(err.Error(), "failurePenalty: ") {
		t.Error(err)
	}
	if (balancer.PeakEWMA{Decay: -1}).Validate() == nil {
		t.Error("a negative decay")
	}
}
