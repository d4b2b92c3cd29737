package balancer_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// tokens is a fleet under one LoadFed that does not explore, unless told.
type tokens struct {
	*fleet
	b      balancer.Balancer
	picker balancer.Picker
	now    time.Time
	draw   uint64
}

func newTokens(p balancer.LoadFed, n int, weight func(int) uint32) *tokens {
	if p.Exploration == 0 {
		p.Exploration = -1
	}
	f := &tokens{fleet: newFleet(n, weight), b: p.New(balancer.Env{}), now: time.Now()}
	f.picker = f.b.Update(f.eps)
	return f
}

func report(inFlight, limit float64, service time.Duration) endpoint.LoadReport {
	return endpoint.LoadReport{InFlight: inFlight, Limit: limit, ServiceTime: service}
}

// tell has endpoint i answer with a result.
func (f *tokens) tell(i int, r outcome.Result) {
	r.At = f.now
	f.b.(balancer.Observer).Observe(f.eps[i], r)
}

// say has endpoint i answer well within 10 ms, with a report.
func (f *tokens) say(i int, r endpoint.LoadReport) {
	f.controls[f.eps[i]].Report(r, f.now)
	f.tell(i, outcome.Result{Outcome: outcome.Outcome{Class: outcome.Success}, Latency: 10 * ms, Reported: true})
}

func (f *tokens) pick(avoid ...*endpoint.Endpoint) int {
	f.draw++
	ep := f.picker.Pick(balancer.Query{Draw: f.draw * 0x9e3779b97f4a7c15, Now: f.now, Avoid: avoid})
	for i := range f.eps {
		if f.eps[i] == ep {
			return i
		}
	}
	return -1
}

// counts returns how many picks there were by reason.
func counts(c balancer.Counted) map[string]uint64 {
	by := map[string]uint64{}
	for _, p := range c.Picks() {
		by[p.Reason] += p.Picks
	}
	return by
}

func (f *tokens) counts() map[string]uint64 { return counts(f.b.(balancer.Counted)) }

// byToken returns what is picked by tokens, until there are none.
func (f *tokens) byToken(t *testing.T) (picked []int) {
	t.Helper()
	for {
		before := f.counts()[balancer.PickToken]
		i := f.pick()
		if f.counts()[balancer.PickToken] == before {
			return picked
		}
		picked = append(picked, i)
	}
}

func TestLoadFedUsesEachTokenOnceTheCheapestFirst(t *testing.T) {
	slow, fast := 20*ms, 10*ms
	for name, c := range map[string]struct {
		reports []endpoint.LoadReport
		weight  func(int) uint32
		want    []int
	}{
		"fewer in flight": {[]endpoint.LoadReport{report(5, 0, fast), report(1, 0, fast), report(3, 0, fast)}, nil, []int{1, 2, 0}},
		"faster":          {[]endpoint.LoadReport{report(2, 0, slow), report(2, 0, fast), report(2, 0, 15*ms)}, nil, []int{1, 2, 0}},
		"fast enough for more in flight": {
			[]endpoint.LoadReport{report(2, 0, slow), report(4, 0, fast), report(6, 0, fast)}, nil, []int{1, 0, 2}},
		"a limit that is reached": {[]endpoint.LoadReport{report(3, 1, fast), report(6, 8, fast), report(7, 2, fast)}, nil, []int{1, 0, 2}},
		"a limit that is not":     {[]endpoint.LoadReport{report(3, 100, fast), report(2, 10, fast), report(4, 1000, fast)}, nil, []int{1, 0, 2}},
		"weights":                 {[]endpoint.LoadReport{report(1, 0, fast), report(5, 0, fast), report(3, 0, fast)}, weights(1, 5, 1), []int{1, 0, 2}},
		"no service times":        {[]endpoint.LoadReport{report(5, 9, 0), report(1, 9, 0), report(3, 9, 0)}, nil, []int{1, 2, 0}},
		"one has no service time": {[]endpoint.LoadReport{report(5, 9, fast), report(1, 9, fast), report(3, 9, 0)}, nil, []int{1, 2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newTokens(balancer.LoadFed{}, 3, c.weight)
			for i, r := range c.reports {
				f.say(i, r)
			}
			got := f.byToken(t)
			if len(got) != 3 || got[0] != c.want[0] || got[1] != c.want[1] || got[2] != c.want[2] {
				t.Errorf("picked %v, want %v", got, c.want)
			}
		})
	}
}

// When there is suddenly more to do at all servers, a token is as good as it
// was, however much a call costs by it.
func TestLoadFedUsesTokensThatCostMore(t *testing.T) {
	f := newTokens(balancer.LoadFed{}, 3, nil)
	for range 50 {
		for i := range f.eps {
			f.say(i, report(1, 4, 10*ms))
		}
	}
	for i, inFlight := range []float64{300, 100, 200} {
		f.say(i, report(inFlight, 4, 10*ms))
	}
	if got := f.byToken(t); len(got) != 3 || got[0] != 1 || got[1] != 2 || got[2] != 0 {
		t.Errorf("picked %v, want [1 2 0]", got)
	}
}

// However many pick at once, nobody has a token that somebody else has.
func TestLoadFedTokenIsUsedByOnePick(t *testing.T) {
	const n, rounds = 12, 300
	f := newTokens(balancer.LoadFed{}, n, nil)
	for i := range n {
		f.say(i, report(1, 4, 10*ms))
	}
	f.byToken(t)
	for round := range rounds {
		before := f.counts()[balancer.PickToken]
		for i := range n {
			f.say(i, report(float64(i%5), 4, 10*ms))
		}
		picks := make([]map[*endpoint.Endpoint]int, 4)
		var wg sync.WaitGroup
		for g := range picks {
			picks[g] = map[*endpoint.Endpoint]int{}
			wg.Go(func() {
				for i := range n {
					picks[g][f.picker.Pick(balancer.Query{Draw: uint64(round*1000+g*100+i) * 0x9e3779b97f4a7c15, Now: f.now})]++
				}
			})
		}
		wg.Wait()
		if used := f.counts()[balancer.PickToken] - before; used > n {
			t.Fatalf("%d picks by %d tokens", used, n)
		}
	}
	if used := f.counts()[balancer.PickToken]; used < n*rounds/2 {
		t.Errorf("only %d tokens were used", used)
	}
}

func TestLoadFedTokens(t *testing.T) {
	result := func(change func(*outcome.Result)) func(*tokens) {
		return func(f *tokens) {
			r := outcome.Result{Outcome: outcome.Outcome{Class: outcome.Success}, Latency: 10 * ms}
			change(&r)
			f.tell(1, r)
		}
	}
	class := func(c outcome.Class) func(*tokens) { return result(func(r *outcome.Result) { r.Class = c }) }
	for name, c := range map[string]struct {
		then func(*tokens)
		left bool // of the token that endpoint 1 has
	}{
		"nothing":        {func(*tokens) {}, true},
		"young":          {func(f *tokens) { f.now = f.now.Add(990 * ms) }, true},
		"old":            {func(f *tokens) { f.now = f.now.Add(1010 * ms) }, false},
		"failed":         {class(outcome.ServerError), false},
		"refused":        {class(outcome.Connect), false},
		"asked for less": {class(outcome.Overload), false},
		"timed out":      {result(func(r *outcome.Result) { r.Class, r.Cut = outcome.Timeout, true }), false},
		"cut off":        {result(func(r *outcome.Result) { r.Class, r.Cut = outcome.Neutral, true }), false},
		"neutral":        {class(outcome.Neutral), true},
		"no report":      {result(func(r *outcome.Result) {}), true},
		"failed late":    {result(func(r *outcome.Result) { r.Class, r.Was, r.Late = outcome.Reset, outcome.Success, true }), false},
		"ended well":     {result(func(r *outcome.Result) { r.Was, r.Late = outcome.Success, true }), true},
		"leaving":        {func(f *tokens) { f.say(1, endpoint.LoadReport{InFlight: 1, Limit: 4, Leaving: true}) }, false},
		"failed twice, reporting": {func(f *tokens) {
			for range 2 {
				result(func(r *outcome.Result) { r.Class, r.Reported = outcome.Gateway, true })(f)
			}
		}, false},
		"used and put anew": {func(f *tokens) { f.pick(); f.say(1, report(0, 4, 10*ms)) }, true},
		"an avoided one":    {func(f *tokens) { f.pick(f.eps[1]) }, true},
		"the set has changed": {func(f *tokens) {
			f.picker = f.b.Update(f.eps[:2])
			f.picker = f.b.Update(f.eps)
		}, true},
		"a late report": {func(f *tokens) {
			f.pick()
			f.controls[f.eps[1]].Report(report(0, 4, 10*ms), f.now)
			result(func(r *outcome.Result) { r.Was, r.Late, r.Reported = outcome.Success, true, true })(f)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newTokens(balancer.LoadFed{}, 4, nil)
			for i := range f.eps {
				f.say(i, report(5, 4, 10*ms))
			}
			f.byToken(t)
			f.say(1, report(1, 4, 10*ms))
			c.then(f)
			got := f.byToken(t)
			if left := len(got) > 0; left != c.left {
				t.Errorf("picked %v by tokens", got)
			} else if left && got[0] != 1 {
				t.Errorf("the token was for %d", got[0])
			}
		})
	}
	// Without the time tokens do not age.
	f := newTokens(balancer.LoadFed{}, 2, nil)
	f.say(0, report(1, 4, 10*ms))
	f.say(1, report(0, 4, 10*ms))
	f.now = time.Time{}
	if got := f.byToken(t); len(got) != 2 || got[0] != 1 {
		t.Errorf("picked %v without the time", got)
	}
	f = newTokens(balancer.LoadFed{MaxAge: 3 * time.Second}, 2, nil)
	f.say(0, report(1, 4, 10*ms))
	f.say(1, report(1, 4, 10*ms))
	f.now = f.now.Add(2900 * ms)
	if got := f.byToken(t); len(got) != 2 {
		t.Errorf("picked %v within MaxAge", got)
	}
}

// Whatever an endpoint says, it is no better than one that has nothing to do
// and is four times as fast as usual.
func TestLoadFedGarbageIsNoBetterThanTheBest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	odd := []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1, 0, 1e-300, 1e-9, 1, 1e9, 1e300, -1e300}
	any := func() float64 {
		if rnd.IntN(2) == 0 {
			return odd[rnd.IntN(len(odd))]
		}
		return rnd.ExpFloat64()
	}
	for range 3000 {
		// A little more weight, so that garbage which is as good comes second.
		f := newTokens(balancer.LoadFed{}, 3, weights(101, 100, 100))
		for range 40 {
			for i := range f.eps {
				f.say(i, report(2, 4, 20*ms))
			}
		}
		f.say(2, report(2, 4, 20*ms))
		f.say(1, endpoint.LoadReport{InFlight: any(), Limit: any(), ServiceTime: time.Duration(any() * 1e9), CPU: any(), RPS: any()})
		f.say(0, report(0, 4, 4*ms))
		// One that seems to report nothing is compared by its latency, as often
		// as it is drawn.
		for range 20 {
			before := f.counts()[balancer.PickToken]
			if i := f.pick(); f.counts()[balancer.PickToken] == before {
				continue
			} else if i != 0 {
				t.Fatalf("picked %v after %+v", i, f.eps[1].Load())
			}
			break
		}
	}
}

// Of endpoints that say the same none is preferred.
func TestLoadFedTokensOfEqualsHaveNoOrder(t *testing.T) {
	f := newTokens(balancer.LoadFed{}, 4, nil)
	first := map[int]int{}
	for range 400 {
		for i := range f.eps {
			f.say(i, report(0, 4, 10*ms))
		}
		first[f.pick()]++
		f.byToken(t)
	}
	for i := range 4 {
		if first[i] < 60 {
			t.Errorf("%d of 400 times endpoint %d came first", first[i], i)
		}
	}
}

// Without reports and failures LoadFed is PeakEWMA, pick by pick.
func TestLoadFedWithoutReportsIsPeakEWMA(t *testing.T) {
	pick := func(p balancer.Policy, reported bool) (all []int) {
		rnd := rand.New(rand.NewPCG(5, 6))
		f := newFleet(9, func(i int) uint32 { return uint32(1 + i%3) })
		b := p.New(balancer.Env{})
		picker, now := b.Update(f.eps), time.Now()
		for range 5000 {
			now = now.Add(time.Duration(rnd.IntN(int(2 * ms))))
			ep := picker.Pick(balancer.Query{Draw: rnd.Uint64(), Now: now})
			i := 0
			for f.eps[i] != ep {
				i++
			}
			all = append(all, i)
			f.controls[ep].Begin()
			if rnd.IntN(4) == 0 {
				f.controls[ep].Report(report(rnd.ExpFloat64()*5, 4, 10*ms), now)
			}
			b.(balancer.Observer).Observe(ep, outcome.Result{
				Outcome: outcome.Outcome{Class: outcome.Success}, At: now, Latency: time.Duration(rnd.ExpFloat64() * float64(i+1) * float64(ms)),
				Reported: reported,
			})
			if rnd.IntN(3) > 0 {
				f.controls[ep].End()
			}
		}
		return all
	}
	same := func(reported bool) (n int) {
		a, b := pick(balancer.LoadFed{Exploration: -1}, reported), pick(balancer.PeakEWMA{}, reported)
		for i := range a {
			if a[i] == b[i] {
				n++
			}
		}
		return n
	}
	if got := same(false); got != 5000 {
		t.Errorf("%d of 5000 picks are the same", got)
	}
	// Control: reports make a difference.
	if got := same(true); got > 4000 {
		t.Errorf("%d of 5000 picks are the same though there are reports", got)
	}
}

func TestLoadFedValidates(t *testing.T) {
	for _, p := range []balancer.LoadFed{
		{}, {Exploration: 1, MaxAge: time.Hour, Decay: ms, FailurePenalty: time.Hour, SendBack: 100}, {Exploration: -1, FailurePenalty: -1, SendBack: -1},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for want, p := range map[string]balancer.LoadFed{
		"exploration: 1.5 is not a part of at most 1": {Exploration: 1.5},
		"exploration: NaN is not a part of at most 1": {Exploration: math.NaN()},
		"maxAge: -1s is not from 0 to 1h0m0s":         {MaxAge: -time.Second},
		"maxAge: 2h0m0s is not from 0 to 1h0m0s":      {MaxAge: 2 * time.Hour},
		"decay: 1µs is less than 1ms":                 {Decay: time.Microsecond},
		"sendBack: 101 is not at most 100":            {SendBack: 101},
		"sendBack: NaN is not at most 100":            {SendBack: math.NaN()},
	} {
		if err := p.Validate(); err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", p, err, want)
		}
		f := newTokens(p, 3, nil)
		for range 10 {
			f.say(0, report(1, 4, 10*ms))
			if i := f.pick(); i < 0 {
				t.Errorf("%+v picks nothing", p)
			}
		}
	}
	err := balancer.LoadFed{Exploration: 2, MaxAge: -1, Decay: 1, SendBack: 1000}.Validate()
	for _, field := range []string{"exploration: ", "maxAge: ", "decay: ", "sendBack: "} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	want := balancer.LoadFed{Exploration: 0.02, MaxAge: time.Second, Decay: 10 * time.Second, FailurePenalty: 5 * time.Second, SendBack: 1}
	if got := (balancer.LoadFed{}).Effective(); got != want {
		t.Errorf("%+v", got)
	}
}
