package balancer_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// weighted is a set under WeightedRoundRobin in virtual time.
type weighted struct {
	*fleet
	balancer balancer.Balancer
	picker   balancer.Picker
	draw     uint64
}

func newWeighted(p balancer.Policy, f *fleet) *weighted {
	w := &weighted{fleet: f, balancer: p.New(balancer.Env{Seed: 1})}
	w.picker = w.balancer.Update(f.eps)
	return w
}

// says has the i-th endpoint answer with a report.
func (w *weighted) says(i int, r endpoint.LoadReport) {
	now := time.Now()
	w.controls[w.eps[i]].Report(r, now)
	w.answers(i, outcome.Result{Reported: true})
}

func (w *weighted) answers(i int, r outcome.Result) {
	r.Class, r.At, r.Latency = outcome.Success, time.Now(), time.Millisecond
	if o, ok := w.balancer.(balancer.Observer); ok {
		o.Observe(w.eps[i], r)
	}
}

// able is what a server reports that could do so many requests a second.
func able(rps float64) endpoint.LoadReport {
	return endpoint.LoadReport{RPS: rps / 2, Application: 0.5}
}

// say has the endpoints of these capacities report, but where it is 0.
func (w *weighted) say(capacities ...float64) {
	for i, c := range capacities {
		if c > 0 {
			w.says(i, able(c))
		}
	}
}

// warm has the endpoints report for longer than the blackout.
func (w *weighted) warm(capacities ...float64) {
	for range 12 {
		w.say(capacities...)
		time.Sleep(time.Second)
	}
}

// shares returns who gets what part of many picks.
func (w *weighted) shares() []float64 {
	const picks = 20000
	index := map[*endpoint.Endpoint]int{}
	for i, ep := range w.eps {
		index[ep] = i
	}
	s := make([]float64, len(w.eps))
	for range picks {
		w.draw++
		s[index[w.picker.Pick(balancer.Query{Draw: w.draw, Now: time.Now()})]] += 1. / picks
	}
	return s
}

// are reports whether shares are these, in any unit.
func are(shares []float64, want ...float64) bool {
	var sum float64
	for _, w := range want {
		sum += w
	}
	for i, w := range want {
		if math.Abs(shares[i]-w/sum) > 0.004 {
			return false
		}
	}
	return len(shares) == len(want)
}

func TestWeightedRoundRobinIsProportionalAndSmooth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, ws := range map[string][]uint32{
			"two": {1, 3}, "mixed": {5, 1, 1}, "primes": {2, 3, 5, 7, 11, 13}, "equal": {4, 4, 4, 4},
			"many": slices.Repeat([]uint32{1, 2, 3, 4}, 25), "one heavy": append([]uint32{9}, slices.Repeat([]uint32{1}, 20)...),
		} {
			picks := func(p balancer.Policy) []int {
				w := newWeighted(p, newFleet(len(ws), nil))
				capacities := make([]float64, len(ws))
				for i, c := range ws {
					capacities[i] = 10 * float64(c)
				}
				w.warm(capacities...)
				w.shares() // makes the schedule
				return sequence(w.picker, w.eps, 30000)
			}
			seq := picks(balancer.WeightedRoundRobin{})
			if d := discrepancy(seq, ws); d > 4 {
				t.Errorf("%s: %.2f picks from the share", name, d)
			}
			// Controls: the same picks in any order, and who does not look at
			// reports.
			rnd := rand.New(rand.NewPCG(1, 2))
			rnd.Shuffle(len(seq), func(i, j int) { seq[i], seq[j] = seq[j], seq[i] })
			if d := discrepancy(seq, ws); d < 20 {
				t.Errorf("%s: picks by chance are only %.2f off", name, d)
			}
			if d := discrepancy(picks(balancer.RoundRobin{}), ws); name != "equal" && d < 100 {
				t.Errorf("%s: round robin is only %.2f picks off", name, d)
			}
		}
	})
}

// The weights of A58, by the share beside an endpoint that can do 100.
func TestWeightedRoundRobinWeights(t *testing.T) {
	type report = endpoint.LoadReport
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			policy balancer.WeightedRoundRobin
			report report
			want   float64
		}{
			"by the processors":     {report: report{RPS: 50, CPU: 0.25}, want: 200},
			"by the application":    {report: report{RPS: 50, CPU: 0.25, Application: 1}, want: 50},
			"beyond the limit":      {report: report{RPS: 50, Application: 2}, want: 25},
			"errors":                {report: report{RPS: 50, EPS: 25, CPU: 0.5}, want: 50},
			"errors, penalty of 2":  {balancer.WeightedRoundRobin{ErrorUtilizationPenalty: 2}, report{RPS: 50, EPS: 25, CPU: 0.25}, 40},
			"errors do not matter":  {balancer.WeightedRoundRobin{ErrorUtilizationPenalty: -1}, report{RPS: 50, EPS: 25, CPU: 0.5}, 100},
			"no requests":           {report: report{CPU: 0.5, InFlight: 3}, want: 0},
			"no utilization":        {report: report{RPS: 50}, want: 0},
			"not a number":          {report: report{RPS: math.NaN(), CPU: 0.5}, want: 0},
			"without bound":         {report: report{RPS: math.Inf(1), CPU: 0.5}, want: 0},
			"utilized to no end":    {report: report{RPS: 50, CPU: math.Inf(1)}, want: 0},
			"negative":              {report: report{RPS: -50, CPU: -0.5}, want: 0},
			"negative errors":       {report: report{RPS: 50, EPS: -50, CPU: 0.5}, want: 100},
			"not of this world":     {report: report{RPS: 1e15, CPU: 1e-9}, want: 0},
			"application not known": {report: report{RPS: 50, CPU: 0.25, Application: math.NaN()}, want: 200},
		} {
			w := newWeighted(tt.policy, newFleet(3, nil))
			for range 12 {
				w.say(100, 400)
				w.says(2, tt.report)
				time.Sleep(time.Second)
			}
			want := tt.want
			if want == 0 {
				want = 250 // the mean
			}
			if s := w.shares(); !are(s, 100, 400, want) {
				t.Errorf("%s: shares are %.3f, want one of %v", name, s, want)
			}
		}
	})
}

// An endpoint counts when it has reported for the blackout, whether it is new
// or has been away.
func TestWeightedRoundRobinBlackout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeighted(balancer.WeightedRoundRobin{}, newFleet(3, nil))
		time.Sleep(time.Minute) // nothing is counted before the first report
		for i := range 10 {
			w.say(1, 2, 3)
			if s := w.shares(); !are(s, 1, 1, 1) {
				t.Fatalf("%d s after the first report: %.3f", i, s)
			}
			time.Sleep(time.Second)
		}
		if s := w.shares(); !are(s, 1, 2, 3) {
			t.Fatalf("after the blackout: %.3f", s)
		}

		// away takes the last endpoint away for a moment. tells is false
		// where its set is not picked from meanwhile, so that nobody tells.
		away := func(w *weighted, tells bool) {
			w.controls[w.eps[2]].Hold(endpoint.Unhealthy, "probe", time.Now())
			if tells {
				w.picker = w.balancer.Update(w.eps[:2])
			}
			time.Sleep(time.Second)
			w.controls[w.eps[2]].Lift(endpoint.Unhealthy, time.Now())
			w.picker = w.balancer.Update(w.eps)
		}
		for _, tells := range []bool{true, false} {
			away(w, tells)
			for i := range 10 {
				w.say(1, 2, 9)
				if s := w.shares(); !are(s, 1, 2, 1.5) {
					t.Fatalf("%d s after it has come back: %.3f", i, s)
				}
				time.Sleep(time.Second)
			}
			if s := w.shares(); !are(s, 1, 2, 9) {
				t.Fatalf("10 s after it has come back: %.3f", s)
			}
		}

		// An update that takes nothing away changes nothing.
		w.picker = w.balancer.Update(w.eps)
		if s := w.shares(); !are(s, 1, 2, 9) {
			t.Errorf("after an update: %.3f", s)
		}

		// Control: without a blackout the first report counts.
		w = newWeighted(balancer.WeightedRoundRobin{BlackoutPeriod: -1}, newFleet(3, nil))
		w.say(1, 2, 3)
		time.Sleep(time.Second)
		if s := w.shares(); !are(s, 1, 2, 3) {
			t.Errorf("without blackout: %.3f", s)
		}
		away(w, true)
		w.say(1, 2, 9)
		time.Sleep(time.Second)
		if s := w.shares(); !are(s, 1, 2, 9) {
			t.Errorf("back without blackout: %.3f", s)
		}
	})
}

func TestWeightedRoundRobinExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after := func(p balancer.WeightedRoundRobin, silence time.Duration) (*weighted, []float64) {
			w := newWeighted(p, newFleet(3, nil))
			w.warm(1, 2, 3)
			time.Sleep(silence - time.Second) // warm waits after the last
			return w, w.shares()
		}
		if _, s := after(balancer.WeightedRoundRobin{}, 3*time.Minute-time.Second); !are(s, 1, 2, 3) {
			t.Errorf("before 3 min: %.3f", s)
		}
		w, s := after(balancer.WeightedRoundRobin{}, 3*time.Minute)
		if !are(s, 1, 1, 1) {
			t.Errorf("after 3 min: %.3f", s)
		}
		// What has expired goes through the blackout again.
		for range 10 {
			w.say(3, 2, 1)
			if s := w.shares(); !are(s, 1, 1, 1) {
				t.Errorf("in the second blackout: %.3f", s)
			}
			time.Sleep(time.Second)
		}
		if s := w.shares(); !are(s, 3, 2, 1) {
			t.Errorf("after the second blackout: %.3f", s)
		}
		if _, s := after(balancer.WeightedRoundRobin{WeightExpirationPeriod: 5 * time.Second}, 5*time.Second); !are(s, 1, 1, 1) {
			t.Errorf("after 5 s: %.3f", s)
		}
		if _, s := after(balancer.WeightedRoundRobin{WeightExpirationPeriod: -1}, 1000*time.Hour); !are(s, 1, 2, 3) {
			t.Errorf("not to expire: %.3f", s)
		}
	})
}

func TestWeightedRoundRobinWithPartOfTheWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Discovery's weights are 1 to 4.
		f := func() *fleet { return newFleet(4, func(i int) uint32 { return uint32(i + 1) }) }
		for name, tt := range map[string]struct{ says, want []float64 }{
			"none is round robin":     {nil, []float64{1, 2, 3, 4}},
			"one is round robin":      {[]float64{0, 50}, []float64{1, 2, 3, 4}},
			"two, the rest have mean": {[]float64{10, 0, 0, 30}, []float64{10, 20, 20, 30}},
			"all":                     {[]float64{40, 30, 20, 10}, []float64{4, 3, 2, 1}},
			"all equal":               {[]float64{5, 5, 5, 5}, []float64{1, 1, 1, 1}},
			// The mean is 255.25, a hundredth of it 2.55.
			"too little": {[]float64{10, 1000, 10, 1}, []float64{10, 1000, 10, 2.5525}},
		} {
			w := newWeighted(balancer.WeightedRoundRobin{}, f())
			w.warm(tt.says...)
			if s := w.shares(); !are(s, tt.want...) {
				t.Errorf("%s: %.3f", name, s)
			}
		}
		if s := newWeighted(balancer.WeightedRoundRobin{}, newFleet(1, nil)).shares(); !are(s, 1) {
			t.Errorf("one endpoint: %.3f", s)
		}
	})
}

// One that claims to be a thousand servers counts as ten.
func TestWeightedRoundRobinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, claim = 100, 1000.
		w := newWeighted(balancer.WeightedRoundRobin{}, newFleet(n, nil))
		capacities := slices.Repeat([]float64{1}, n)
		capacities[7] = claim
		w.warm(capacities...)
		mean := (n - 1 + claim) / n
		if got, want := w.shares()[7], 10*mean/(10*mean+n-1); math.Abs(got-want) > 0.01 {
			t.Errorf("a share of %.3f, want %.3f; claimed is %.3f", got, want, claim/(claim+n-1))
		}
	})
}

// Weights are renewed when it is time, by whoever comes by then.
func TestWeightedRoundRobinUpdatePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			policy balancer.WeightedRoundRobin
			period time.Duration
		}{
			{balancer.WeightedRoundRobin{BlackoutPeriod: -1}, time.Second},
			{balancer.WeightedRoundRobin{BlackoutPeriod: -1, WeightUpdatePeriod: 5 * time.Second}, 5 * time.Second},
			// What is less than the least counts as the least.
			{balancer.WeightedRoundRobin{BlackoutPeriod: -1, WeightUpdatePeriod: time.Nanosecond}, 100 * time.Millisecond},
		} {
			w := newWeighted(tt.policy, newFleet(2, nil))
			w.say(1, 3)
			time.Sleep(tt.period - time.Nanosecond)
			w.say(1, 3)
			if s := w.shares(); !are(s, 1, 1) {
				t.Errorf("%v: before it is time: %.3f", tt.period, s)
			}
			time.Sleep(time.Nanosecond)
			if s := w.shares(); !are(s, 1, 3) {
				t.Errorf("%v: no pick renews: %.3f", tt.period, s)
			}
			w.say(3, 1)
			if s := w.shares(); !are(s, 1, 3) {
				t.Errorf("%v: renewed at once: %.3f", tt.period, s)
			}
			time.Sleep(tt.period)
			if s := w.shares(); !are(s, 3, 1) {
				t.Errorf("%v: no pick renews again: %.3f", tt.period, s)
			}

			w = newWeighted(tt.policy, newFleet(2, nil))
			w.say(1, 9)
			time.Sleep(tt.period)
			// timeless returns the part of the first of picks that say no time.
			timeless := func() (share float64) {
				for _, i := range sequence(w.picker, w.eps, 1000) {
					if i == 0 {
						share += 1. / 1000
					}
				}
				return share
			}
			if s := timeless(); math.Abs(s-0.5) > 0.004 {
				t.Errorf("%v: a pick that says no time has renewed: %.3f", tt.period, s)
			}
			w.answers(0, outcome.Result{})
			if s := timeless(); math.Abs(s-0.1) > 0.004 {
				t.Errorf("%v: no result renews: %.3f", tt.period, s)
			}
		}
	})
}

// Processes do not begin at the same endpoint.
func TestWeightedRoundRobinBeginsAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5
		firsts := func(seed func(int) uint64) map[*endpoint.Endpoint]int {
			f, first := newFleet(n, nil), map[*endpoint.Endpoint]int{}
			for i := range 400 {
				b := balancer.WeightedRoundRobin{BlackoutPeriod: -1}.New(balancer.Env{Seed: seed(i)})
				b.Update(f.eps)
				for i, ep := range f.eps {
					f.controls[ep].Report(able(float64(10+i)), time.Now())
					b.(balancer.Observer).Observe(ep, outcome.Result{At: time.Now(), Reported: true})
				}
				first[b.Update(f.eps).Pick(balancer.Query{Now: time.Now()})]++
			}
			return first
		}
		rnd := rand.New(rand.NewPCG(3, 4))
		for ep, times := range firsts(func(int) uint64 { return rnd.Uint64() }) {
			if times < 40 || times > 130 {
				t.Errorf("%s comes first %d times of 400", ep.Addr(), times)
			}
		}
		if first := firsts(func(int) uint64 { return 7 }); len(first) != 1 {
			t.Errorf("of one seed, %d endpoints come first", len(first))
		}
	})
}

// What must be avoided loses its turn, the others keep their proportions.
func TestWeightedRoundRobinAvoids(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeighted(balancer.WeightedRoundRobin{}, newFleet(4, nil))
		w.warm(1000, 3, 2, 1) // as 1000, 3, 2.5, 2.5: a hundredth of the mean
		counts := map[*endpoint.Endpoint]float64{}
		for draw := range uint64(12000) {
			counts[w.picker.Pick(balancer.Query{Draw: draw << 32, Now: time.Now(), Avoid: w.eps[:1]})] += 8. / 12000
		}
		if counts[w.eps[0]] > 0 {
			t.Error("took the one to avoid")
		}
		for i, want := range []float64{0, 3, 2.5, 2.5} {
			if math.Abs(counts[w.eps[i]]-want) > 0.2 {
				t.Errorf("endpoint %d: %.2f, want %v", i, counts[w.eps[i]], want)
			}
		}
	})
}

func TestWeightedRoundRobinValidate(t *testing.T) {
	for _, p := range []balancer.WeightedRoundRobin{
		{}, {BlackoutPeriod: -1, WeightExpirationPeriod: -1, WeightUpdatePeriod: 100 * time.Millisecond, ErrorUtilizationPenalty: -1},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	err := balancer.WeightedRoundRobin{WeightUpdatePeriod: time.Millisecond, ErrorUtilizationPenalty: math.NaN()}.Validate()
	for _, path := range []string{"weightUpdatePeriod: 1ms is less than 100ms", "errorUtilizationPenalty: NaN"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q is missing in %v", path, err)
		}
	}
	if (balancer.WeightedRoundRobin{WeightUpdatePeriod: -1, ErrorUtilizationPenalty: math.Inf(-1)}).Validate() == nil {
		t.Error("nothing noticed")
	}
}

// informed is WeightedRoundRobin whose endpoints have all reported: in place
// of those it is given it uses others of the same addresses that have.
type informed struct{ balancer.WeightedRoundRobin }

func (p informed) New(env balancer.Env) balancer.Balancer {
	p.BlackoutPeriod = -1
	return &informedBalancer{
		inner: p.WeightedRoundRobin.New(env), twins: map[*endpoint.Endpoint]*endpoint.Endpoint{}, originals: map[*endpoint.Endpoint]*endpoint.Endpoint{},
	}
}

type informedBalancer struct {
	inner            balancer.Balancer
	mu               sync.RWMutex
	twins, originals map[*endpoint.Endpoint]*endpoint.Endpoint
}

func (b *informedBalancer) Update(eps []*endpoint.Endpoint) balancer.Picker {
	b.mu.Lock()
	defer b.mu.Unlock()
	var twins []*endpoint.Endpoint
	for _, ep := range eps {
		if b.twins[ep] == nil {
			twin, control := endpoint.New(ep.Info(), time.Now())
			control.Report(able(float64(10*ep.Weight())), time.Now())
			b.twins[ep], b.originals[twin] = twin, ep
		}
		twins = append(twins, b.twins[ep])
	}
	b.inner.Update(twins)
	for _, twin := range twins {
		b.inner.(balancer.Observer).Observe(twin, outcome.Result{At: twin.Load().At, Reported: true})
	}
	return informedPicker{b, b.inner.Update(twins)}
}

func (b *informedBalancer) Observe(ep *endpoint.Endpoint, r outcome.Result) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if twin := b.twins[ep]; twin != nil {
		b.inner.(balancer.Observer).Observe(twin, r)
	}
}

type informedPicker struct {
	b     *informedBalancer
	inner balancer.Picker
}

func (p informedPicker) Pick(q balancer.Query) *endpoint.Endpoint {
	p.b.mu.RLock()
	defer p.b.mu.RUnlock()
	var avoid []*endpoint.Endpoint
	for _, ep := range q.Avoid {
		if twin := p.b.twins[ep]; twin != nil {
			avoid = append(avoid, twin)
		} else {
			avoid = append(avoid, ep)
		}
	}
	q.Avoid = avoid
	return p.b.originals[p.inner.Pick(q)]
}

func TestWeightedRoundRobinByReportsKeepsTheContract(t *testing.T) {
	for promise, check := range contract {
		if err := check(informed{}); err != nil {
			t.Errorf("%s: %v", promise, err)
		}
	}
}

// Reports, picks and updates at once: every pick is of its set, and when all
// is quiet the schedule is that of the last reports.
func TestWeightedRoundRobinAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeighted(balancer.WeightedRoundRobin{BlackoutPeriod: -1}, newFleet(4, nil))
		for range 50 {
			var wg sync.WaitGroup
			for g := range uint64(4) {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(g, 1))
					for range 100 {
						i := rnd.IntN(len(w.eps))
						w.says(i, endpoint.LoadReport{RPS: math.Exp(rnd.NormFloat64() * 20), CPU: math.Exp(rnd.NormFloat64() * 20), EPS: rnd.Float64()})
						if ep := w.picker.Pick(balancer.Query{Draw: rnd.Uint64(), Now: time.Now()}); !slices.Contains(w.eps, ep) {
							t.Errorf("%v is not in the set", ep)
						}
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Second)
		}
		w.say(1, 2, 3, 4)
		time.Sleep(time.Second)
		if s := w.shares(); !are(s, 1, 2, 3, 4) {
			t.Errorf("%.3f", s)
		}
	})
}
