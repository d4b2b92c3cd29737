package balancer_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// room returns how much room there is at endpoint i.
func (f *tokens) room(i int) int { return f.picker.(balancer.Wary).Room(f.eps[i], f.now) }

// A call may cost what it would cost at the next best token, and the trip there,
// of which it is only known that it is usually a hundredth of what requests take
// here.
func TestLoadFedRoom(t *testing.T) {
	const takes = 100 * ms
	says := func(inFlight, limit float64) endpoint.LoadReport { return report(inFlight, limit, takes) }
	for name, c := range map[string]struct {
		policy  balancer.LoadFed
		reports []endpoint.LoadReport
		weight  func(int) uint32
		before  func(*tokens)
		pick    int
		after   func(*tokens)
		want    int
	}{
		"as many as elsewhere":      {reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, want: 6},
		"of several the next":       {reports: []endpoint.LoadReport{says(1, 0), says(7, 0), says(4, 0), says(9, 0)}, want: 5},
		"no less than expected":     {reports: []endpoint.LoadReport{says(3, 0), says(3, 0)}, after: func(f *tokens) { f.say(1, says(0, 0)) }, pick: -1, want: 4},
		"more by a factor":          {policy: balancer.LoadFed{SendBack: 2}, reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, want: 12},
		"less by a factor":          {policy: balancer.LoadFed{SendBack: .5}, reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, want: 3},
		"not asked for":             {policy: balancer.LoadFed{SendBack: -1}, reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}},
		"slower than elsewhere":     {reports: []endpoint.LoadReport{report(1, 0, takes), report(7, 0, takes/2)}, want: 4},
		"few for the limit":         {reports: []endpoint.LoadReport{says(1, 8), says(5, 8)}, want: 6},
		"beyond the limit":          {reports: []endpoint.LoadReport{says(1, 2), says(5, 0)}, want: 3}, // n·n/2 is 4.5, and 8 of one more
		"short requests":            {reports: []endpoint.LoadReport{report(1, 0, ms), report(5, 0, ms)}, want: 12},
		"no service times":          {reports: []endpoint.LoadReport{says(1, 9), {InFlight: 5, Limit: 9}}, want: 6},
		"no service times at all":   {reports: []endpoint.LoadReport{{InFlight: 1, Limit: 9}, {InFlight: 5, Limit: 9}}, want: 6}, // 10 ms each
		"a factor that is none":     {policy: balancer.LoadFed{SendBack: math.NaN()}, reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, want: 6},
		"more weight":               {reports: []endpoint.LoadReport{says(3, 0), says(3, 0)}, weight: weights(3, 1), want: 10}, // 1 + 6·1.5
		"less weight":               {reports: []endpoint.LoadReport{says(0, 0), says(9, 0)}, weight: weights(1, 3), want: 4},  // 1 + 6·½
		"more weight and a limit":   {reports: []endpoint.LoadReport{says(3, 4), says(3, 0)}, weight: weights(3, 1), want: 6},
		"nothing else is known":     {reports: []endpoint.LoadReport{says(1, 0)}},
		"one endpoint":              {reports: []endpoint.LoadReport{says(1, 0)}, before: func(f *tokens) { f.picker = f.b.Update(f.eps[:1]) }},
		"without the time":          {reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, after: func(f *tokens) { f.now = time.Time{} }},
		"picked without the time":   {reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, before: func(f *tokens) { f.now = time.Time{} }},
		"of another pick":           {reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, after: func(f *tokens) { f.now = f.now.Add(ms) }},
		"not picked":                {reports: []endpoint.LoadReport{says(5, 0), says(1, 0)}, pick: 1, after: func(f *tokens) { f.eps[1] = f.eps[0] }},
		"the next has been used up": {reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, after: func(f *tokens) { f.pick() }},
		"the next is too old": {reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, before: func(f *tokens) {
			f.now = f.now.Add(990 * ms)
			f.say(0, says(1, 0))
			f.now = f.now.Add(20 * ms)
		}},
		"the next has left": {reports: []endpoint.LoadReport{says(1, 0), says(7, 0), says(5, 0)}, before: func(f *tokens) {
			f.picker = f.b.Update(f.eps[:2])
		}, want: 8},
		"the next has failed": {reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, after: func(f *tokens) {
			f.tell(1, outcome.Result{Outcome: outcome.Outcome{Class: outcome.Connect}})
		}},
		"the next has failed, there is another": {reports: []endpoint.LoadReport{says(1, 0), says(5, 0), says(7, 0)}, after: func(f *tokens) {
			f.tell(1, outcome.Result{Outcome: outcome.Outcome{Class: outcome.Connect}})
		}, want: 8},
		"one in the midst has left": {reports: []endpoint.LoadReport{says(1, 0), says(5, 0), says(7, 0)}, before: func(f *tokens) {
			f.picker = f.b.Update([]*endpoint.Endpoint{f.eps[0], f.eps[2]})
		}, want: 8},
		"its own next token":   {reports: []endpoint.LoadReport{says(1, 0), says(5, 0)}, after: func(f *tokens) { f.say(0, says(0, 0)) }, want: 6},
		"only its own is left": {reports: []endpoint.LoadReport{says(1, 0)}, after: func(f *tokens) { f.say(0, says(0, 0)) }},
		"has left itself": {reports: []endpoint.LoadReport{says(1, 0), says(5, 0), says(6, 0)}, after: func(f *tokens) {
			f.eps[0], _ = endpoint.New(endpoint.Info{Addr: "elsewhere"}, f.now)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newTokens(c.policy, max(2, len(c.reports)), c.weight)
			for i, r := range c.reports {
				f.say(i, r)
			}
			if c.before != nil {
				c.before(f)
			}
			i := f.pick()
			if c.pick >= 0 {
				require.Equal(t, c.pick, i)
			}
			picked := f.eps[i]
			if c.after != nil {
				if c.pick < 0 && i == 1 {
					f.eps[0], f.eps[1] = f.eps[1], f.eps[0] // either may come first
				}
				c.after(f)
				if c.pick < 0 {
					f.eps[0], i = picked, 0
				}
			}
			assert.Equal(t, c.want, f.room(i))
			assert.Equal(t, c.want, f.room(i), "to ask changes nothing")
		})
	}
}

// What was to be avoided is nothing better.
func TestLoadFedRoomBesideWhatIsAvoided(t *testing.T) {
	f := newTokens(balancer.LoadFed{}, 3, nil)
	f.say(0, report(1, 0, 100*ms))
	f.say(1, report(5, 0, 100*ms))
	f.say(2, report(9, 0, 100*ms))
	require.Equal(t, 1, f.pick(f.eps[0]))
	assert.Equal(t, 6, f.room(1), "what was expected, and no less")
}

// Who was picked for other reasons than a token may have as many as it has.
func TestLoadFedRoomIsOfTokens(t *testing.T) {
	f := newTokens(balancer.LoadFed{}, 2, nil)
	f.say(0, report(1, 0, 100*ms))
	f.say(1, report(5, 0, 100*ms))
	require.Len(t, f.byToken(t), 2)
	f.now = f.now.Add(ms)
	i := f.pick()
	require.EqualValues(t, 2, f.counts()[balancer.PickDry])
	f.say(1-i, report(5, 0, 100*ms))
	assert.Zero(t, f.room(i))
	assert.Zero(t, f.room(1-i))
}

// A call that was sent back leaves a token, and nothing else is learnt from it.
func TestLoadFedLearnsFromWhatIsSentBack(t *testing.T) {
	sentBack := func(f *tokens, i int, inFlight float64, reported bool) {
		r := report(inFlight, 0, 10*ms)
		r.SentBack = true
		f.controls[f.eps[i]].Report(r, f.now)
		f.tell(i, outcome.Result{Latency: time.Second, Reported: reported, SentBack: true})
	}
	f := newTokens(balancer.LoadFed{}, 3, nil)
	for i := range f.eps {
		f.say(i, report(4, 0, 10*ms))
	}
	require.Len(t, f.byToken(t), 3)
	sentBack(f, 1, 6, true)
	sentBack(f, 2, 2, true)
	sentBack(f, 0, 1, false)
	assert.Equal(t, []int{2, 1}, f.byToken(t))
	// Where nobody says how long requests take, that is what they took there.
	f = newTokens(balancer.LoadFed{}, 2, nil)
	for i := range f.eps {
		f.say(i, report(4, 50, 0))
	}
	require.Len(t, f.byToken(t), 2)
	f.controls[f.eps[1]].Report(report(2, 50, 0), f.now)
	f.tell(1, outcome.Result{Latency: time.Second, Reported: true, SentBack: true})
	f.say(0, report(3, 50, 0))
	assert.Equal(t, []int{1, 0}, f.byToken(t))
	// Control: of another neutral result there is none.
	f.tell(1, outcome.Result{Latency: ms, Reported: true})
	assert.Empty(t, f.byToken(t))

	// The longer the way, the more it may cost to stay.
	stay := func(trip time.Duration) int {
		f := newTokens(balancer.LoadFed{}, 3, nil)
		for range 300 {
			f.controls[f.eps[2]].Report(report(5, 0, 10*ms), f.now)
			f.tell(2, outcome.Result{Latency: trip, Reported: true, SentBack: true})
		}
		f.say(0, report(1, 0, 10*ms))
		f.say(1, report(5, 0, 10*ms))
		i := f.pick()
		require.Zero(t, i)
		return f.room(0)
	}
	assert.Equal(t, 6, stay(10*time.Microsecond))
	assert.InDelta(t, 12, stay(10*ms), 1)
	// Where it seems so long that nothing comes back that is forgotten.
	later := func(after time.Duration) int {
		f := newTokens(balancer.LoadFed{}, 3, nil)
		for range 300 {
			f.controls[f.eps[2]].Report(report(5, 0, 10*ms), f.now)
			f.tell(2, outcome.Result{Latency: time.Second, Reported: true, SentBack: true})
		}
		f.now = f.now.Add(after)
		f.say(0, report(1, 0, 10*ms))
		f.say(1, report(5, 0, 10*ms))
		require.Zero(t, f.pick())
		return f.room(0)
	}
	assert.Greater(t, later(0), 100)
	assert.Equal(t, 6, later(5*time.Minute))

	// A second each is no latency: it costs as much there as it did.
	cost := func(back bool) int {
		f := newTokens(balancer.LoadFed{}, 2, nil)
		for range 20 {
			for i := range f.eps {
				f.say(i, report(4, 0, 10*ms))
				if back && i == 0 {
					sentBack(f, i, 4, true)
				}
			}
		}
		f.byToken(t)
		f.say(0, report(2, 0, 10*ms))
		f.say(1, report(3, 0, 10*ms))
		return f.pick()
	}
	assert.Equal(t, cost(false), cost(true))
	assert.Zero(t, cost(true))
}

// In a division each part answers for its own endpoints; one whose policy
// knows nothing says nothing.
func TestRoomInADivision(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		policy balancer.Policy
		want   int
	}{{balancer.LoadFed{Exploration: -1}, 6}, {balancer.LeastRequest{}, 0}} {
		l := newLand(place{zone: "a", n: 2}, place{zone: "b", n: 2})
		d := balancer.NewSpreader(c.policy, balancer.Spread{Zones: balancer.WeightedZones, ZoneWeights: []balancer.ZoneWeight{{Zone: "a", Weight: 1}, {Zone: "b", Weight: 1}}}, balancer.Env{Zone: "a"}).Update(l.members, now)
		require.Len(t, d.Parts(), 2)
		for _, eps := range l.at {
			for i, ep := range eps {
				l.controls[ep].Report(report(float64(1+4*i), 0, 100*ms), now)
				if o := d.Observer(); o != nil {
					o.Observe(ep, outcome.Result{Outcome: outcome.Outcome{Class: outcome.Success}, At: now, Latency: ms, Reported: true})
				}
			}
		}
		wary, ok := d.Picker().(balancer.Wary)
		require.True(t, ok)
		seen := [2]bool{}
		for draw := uint64(0); seen != [2]bool{true, true}; draw++ {
			require.Less(t, draw, uint64(100))
			ep := wary.Pick(balancer.Query{Now: now, Draw: draw * 0x9e3779b97f4a7c15})
			if part := l.of[ep]; !seen[part] {
				seen[part] = true
				assert.Equal(t, c.want, wary.Room(ep, now), "%T", c.policy)
			}
		}
		other, _ := endpoint.New(endpoint.Info{Addr: "elsewhere"}, now)
		assert.Zero(t, wary.Room(other, now))
	}
}

// Room is asked while others pick, report and change the set.
func TestLoadFedRoomWhileOthersPick(t *testing.T) {
	const n, asks = 12, 3000
	f := newTokens(balancer.LoadFed{}, n, nil)
	for i := range n {
		f.say(i, report(1, 4, 10*ms))
	}
	o := f.b.(balancer.Observer)
	var wg sync.WaitGroup
	roomy := make([]int, 4)
	for g := range roomy {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(g)))
			for k := range asks {
				now := f.now.Add(time.Duration(k*len(roomy)+g) * time.Microsecond)
				ep := f.picker.Pick(balancer.Query{Draw: rnd.Uint64(), Now: now})
				room := f.picker.(balancer.Wary).Room(ep, now)
				if room > 0 {
					roomy[g]++
				}
				if room < 0 || room > 1000 {
					t.Errorf("room for %d", room)
				}
				f.controls[ep].Report(report(rnd.Float64()*20, 4, 10*ms), now)
				o.Observe(ep, outcome.Result{
					Outcome: outcome.Outcome{Class: outcome.Success}, At: now, Latency: 10 * ms, Reported: true,
				})
			}
		})
	}
	wg.Go(func() {
		for k := range 100 {
			f.b.Update(f.eps[:n-k%3])
		}
	})
	wg.Wait()
	for _, k := range roomy {
		assert.Greater(t, k, asks/4)
	}
}
