// Chance without concurrency: the race detector would only take its time.

//go:build !race

package balancer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// join adds an endpoint that is known since then.
func (l *land) join(info endpoint.Info, since time.Time) *endpoint.Endpoint {
	info.Addr = fmt.Sprintf("11.0.000.%03d:80", len(l.members))
	ep, control := endpoint.New(info, since)
	l.members = append(l.members, balancer.Member{Endpoint: ep})
	l.controls[ep], l.of[ep] = control, len(l.at)
	l.at = append(l.at, []*endpoint.Endpoint{ep})
	return ep
}

// excess returns by how much picks differ from the shares wanted, in
// deviations of a χ² distribution.
func excess(p balancer.Picker, want map[*endpoint.Endpoint]float64, now time.Time) float64 {
	const picks = 200000
	rnd := rand.New(rand.NewPCG(7, 8))
	got := map[*endpoint.Endpoint]float64{}
	for range picks {
		got[p.Pick(balancer.Query{Draw: rnd.Uint64(), Now: now, Attempt: 1})]++
	}
	var sum, all float64
	for _, w := range want {
		all += w
	}
	for ep, w := range want {
		e := w / all * picks
		sum += (got[ep] - e) * (got[ep] - e) / e
	}
	k := float64(len(want) - 1)
	return (sum - k) / math.Sqrt(2*k)
}

// Random picks are thinned out to exactly weight times factor.
func TestRampIsExact(t *testing.T) {
	const window = 10 * time.Second
	for _, c := range []struct {
		name   string
		slow   balancer.SlowStart
		factor func(x float64) float64 // of the part of the window that is over
	}{
		{"straight", balancer.SlowStart{Window: window}, func(x float64) float64 { return max(.1, x) }},
		{"early", balancer.SlowStart{Window: window, Aggression: 2}, func(x float64) float64 { return max(.1, math.Sqrt(x)) }},
		{"late", balancer.SlowStart{Window: window, Aggression: .5, MinPercent: 25}, func(x float64) float64 { return max(.25, x*x) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLand(place{n: 5, weight: 2}, place{n: 5, weight: 5})
			// Newcomers of different weight and age; one that has returned.
			ages := []time.Duration{0, 2 * time.Second, 5 * time.Second, 9 * time.Second}
			for i, age := range ages {
				l.join(endpoint.Info{Weight: uint32(2 + i)}, start.Add(-age))
			}
			returned := l.at[0][3]
			l.controls[returned].Hold(endpoint.Ejected, "test", start.Add(-time.Minute))
			l.controls[returned].Lift(endpoint.Ejected, start.Add(-time.Second))
			l.members[3].RampFor = 4 * time.Second
			s := balancer.NewSpreader(balancer.Random{}, balancer.Spread{SlowStart: c.slow}, balancer.Env{})
			p := s.Update(l.members, start).Picker()
			plain := balancer.NewSpreader(balancer.Random{}, balancer.Spread{}, balancer.Env{}).Update(l.members[4:], start).Picker()

			for _, after := range []time.Duration{0, 1500 * time.Millisecond, 4 * time.Second, 11 * time.Second} {
				want := map[*endpoint.Endpoint]float64{}
				for _, m := range l.members {
					want[m.Endpoint] = float64(m.Endpoint.Weight())
				}
				for i, age := range ages {
					x := float64(age+after) / float64(window)
					want[l.at[2+i][0]] *= min(1, c.factor(x))
				}
				want[returned] *= min(1, c.factor(float64(time.Second+after)/float64(4*time.Second)))
				require.Less(t, excess(p, want, start.Add(after)), 5., "after %v", after)
				if after < time.Second {
					// Negative controls: no ramp, and a call that does not say
					// what time it is.
					require.Greater(t, excess(plain, want, start.Add(after)), 5.)
					require.Greater(t, excess(p, want, time.Time{}), 5.)
				}
			}
		})
	}
}

// Ramps count from the endpoint that is the furthest: where all are new each
// has its share, and one that is a little older only a little more.
func TestNoRampWhereAllAreNew(t *testing.T) {
	l := newLand()
	want := map[*endpoint.Endpoint]float64{}
	for i := range 8 {
		age := time.Duration(i%4) * time.Second
		want[l.join(endpoint.Info{}, start.Add(-age))] = max(1, float64(2+i%4))
	}
	spread := balancer.Spread{SlowStart: balancer.SlowStart{Window: 20 * time.Second}}
	p := balancer.NewSpreader(balancer.Random{}, spread, balancer.Env{}).Update(l.members, start).Picker()
	even := map[*endpoint.Endpoint]float64{}
	for ep := range want {
		even[ep] = 1
	}
	// Up to 3 of 20 s: from 10 to 15 %.
	young := map[*endpoint.Endpoint]float64{}
	for i := range 8 {
		young[l.at[i][0]] = max(2, float64(i%4))
	}
	require.Less(t, excess(p, young, start), 5.)
	require.Less(t, excess(p, want, start.Add(2*time.Second)), 5.)
	require.Greater(t, excess(p, even, start.Add(2*time.Second)), 5.)
	require.Less(t, excess(p, even, start.Add(20*time.Second)), 5.)
}

// A newcomer never has all of its share at first, and never nothing, whatever
// the policy.
func TestNewcomersShare(t *testing.T) {
	for name, policy := range policies {
		for _, keyed := range []bool{false, true} {
			share := func(slow balancer.SlowStart, after time.Duration) float64 {
				l := newLand(place{n: 9})
				l.join(endpoint.Info{}, start)
				s := balancer.NewSpreader(policy, balancer.Spread{SlowStart: slow}, balancer.Env{})
				p := s.Update(l.members, start).Picker()
				return 10 * l.shares(p, balancer.Query{HasHash: keyed, Now: start.Add(after)}, 20000)[1]
			}
			slow := balancer.SlowStart{Window: time.Minute}
			// Ring shares differ from even ones.
			whole := share(balancer.SlowStart{}, 0)
			require.InDelta(t, 1, whole, 0.6, name)
			for after, factor := range map[time.Duration]float64{0: .1, 6 * time.Second: .1, 30 * time.Second: .5, time.Minute: 1} {
				require.InDelta(t, factor*whole, share(slow, after), 0.12, "%s, keys: %v, after %v", name, keyed, after)
			}
		}
	}
}

// The keys of a newcomer come to it one after the other, each once; until
// then they stay where they were.
func TestKeysComeOverGradually(t *testing.T) {
	const keys = 1200
	for name, policy := range hashing {
		t.Run(name, func(t *testing.T) {
			l := newLand(place{n: 9})
			before := balancer.NewSpreader(policy, balancer.Spread{}, balancer.Env{}).Update(l.members, start).Picker()
			was := make([]*endpoint.Endpoint, keys)
			owner := func(p balancer.Picker, i int, now time.Time) *endpoint.Endpoint {
				return p.Pick(balancer.Query{Hash: keyHash(i), HasHash: true, Draw: rand.Uint64(), Now: now})
			}
			for i := range was {
				was[i] = owner(before, i, start)
			}
			// Two that come at different times.
			newcomers := []*endpoint.Endpoint{l.join(endpoint.Info{}, start), l.join(endpoint.Info{}, start.Add(-20*time.Second))}
			s := balancer.NewSpreader(policy, balancer.Spread{SlowStart: balancer.SlowStart{Window: time.Minute}}, balancer.Env{})
			d := s.Update(l.members, start)
			settled := balancer.NewSpreader(policy, balancer.Spread{}, balancer.Env{}).Update(l.members, start).Picker()
			moves, strays, last, all := 0, 0, 0, 0
			for i := range keys {
				if l.of[owner(settled, i, start)] > 0 {
					all++
				}
			}
			now := make([]*endpoint.Endpoint, keys)
			copy(now, was)
			for sec := range 61 {
				at, there := start.Add(time.Duration(sec)*time.Second), 0
				for i := range now {
					ep := owner(d.Picker(), i, at)
					if ep != owner(d.Picker(), i, at) {
						t.Fatal("a key is at two places")
					}
					if l.of[ep] > 0 {
						there++
					}
					if ep == now[i] {
						continue
					}
					if sec > 0 {
						moves++
						// From the younger newcomer to the older, or back home,
						// is where no key goes.
						if l.of[ep] == 0 || ep == newcomers[1] && now[i] == newcomers[0] {
							strays++
						}
					}
					now[i] = ep
				}
				require.GreaterOrEqual(t, there, last, "at %d s", sec)
				require.Less(t, there-last, all/3, "at %d s", sec) // without a ramp it is all of them at 0 s
				last = there
			}
			require.Zero(t, strays)
			require.NotZero(t, moves)
			for i := range now {
				require.Equal(t, owner(settled, i, start), now[i])
			}
			// Further attempts do not fall on the same endpoint.
			for i := range 500 {
				first := owner(d.Picker(), i, start)
				second := d.Picker().Pick(balancer.Query{Hash: keyHash(i), HasHash: true, Avoid: []*endpoint.Endpoint{first}, Now: start})
				require.NotEqual(t, first, second)
			}
		})
	}
}

// Turns that a newcomer loses are nobody's gain in particular.
func TestRoundRobinInARamp(t *testing.T) {
	l := newLand(place{n: 9})
	newcomer := l.join(endpoint.Info{}, start)
	s := balancer.NewSpreader(balancer.RoundRobin{}, balancer.Spread{SlowStart: balancer.SlowStart{Window: time.Minute}}, balancer.Env{})
	p := s.Update(l.members, start).Picker()
	counts := map[*endpoint.Endpoint]int{}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 9100 {
		counts[p.Pick(balancer.Query{Draw: rnd.Uint64(), Now: start})]++
	}
	for _, ep := range l.at[0] {
		require.InDelta(t, 1000, counts[ep], 12)
	}
	require.InDelta(t, 100, counts[newcomer], 40)
}

// When a ramp begins and ends.
func TestWhenRampsAre(t *testing.T) {
	slow := balancer.Spread{SlowStart: balancer.SlowStart{Window: 10 * time.Second}}
	for _, c := range []struct {
		name    string
		spread  balancer.Spread
		known   time.Duration // before start
		held    endpoint.Hold
		back    time.Duration // before start, 0 if it was never held
		rampFor time.Duration
		want    float64 // factor at start+1 s
	}{
		{"new", slow, 0, 0, 0, 0, .1},
		{"known for a while", slow, 4 * time.Second, 0, 0, 0, .5},
		{"known for long", slow, 10 * time.Second, 0, 0, 0, 1},
		{"new, without slow start", balancer.Spread{}, 0, 0, 0, 0, 1},
		{"ready at last", slow, time.Hour, endpoint.NotReady, 3 * time.Second, 0, .4},
		{"back, nothing asked", balancer.Spread{}, time.Hour, endpoint.Ejected, time.Second, 0, 1},
		{"back, with a ramp", balancer.Spread{}, time.Hour, endpoint.Ejected, time.Second, 4 * time.Second, .5},
		{"back, with a ramp of its own", slow, time.Hour, endpoint.Ejected, time.Second, 4 * time.Second, .5},
		{"back before its slow start is over", slow, 6 * time.Second, endpoint.Ejected, time.Second, 2 * time.Second, .4},
		{"back with a longer ramp than its slow start", slow, 6 * time.Second, endpoint.Ejected, time.Second, 20 * time.Second, .1},
		{"from the future", slow, -time.Minute, 0, 0, 0, .1},
		{"a ramp for ever", balancer.Spread{}, time.Hour, endpoint.Ejected, time.Second, math.MaxInt64, .1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLand(place{n: 1})
			ep := l.join(endpoint.Info{}, start.Add(-c.known))
			if c.back > 0 {
				l.controls[ep].Hold(c.held, "test", start.Add(-c.back-time.Second))
				l.controls[ep].Lift(c.held, start.Add(-c.back))
			}
			l.members[1].RampFor = c.rampFor
			p := balancer.NewSpreader(balancer.Random{}, c.spread, balancer.Env{}).Update(l.members, start).Picker()
			share := l.shares(p, balancer.Query{Now: start.Add(time.Second)}, 100000)[1]
			require.InDelta(t, c.want, share/(1-share), 0.02)
		})
	}
}

// A tier that comes back as a whole takes its calls back with its ramps, and
// zones too; its endpoints share them evenly meanwhile.
func TestTiersTakeTheirSharesBack(t *testing.T) {
	for _, c := range []struct {
		name   string
		spread balancer.Spread
		want   func(f float64) float64
	}{
		{"gradual", balancer.Spread{}, func(f float64) float64 { return min(1, 1.4*f) }},
		{"weighted zones", balancer.Spread{Zones: balancer.WeightedZones, ZoneWeights: []balancer.ZoneWeight{{"a", 1}, {"b", 1}}}, func(f float64) float64 {
			f = min(1, 1.4*f)
			return f / (1 + f)
		}},
		// Negative control: one step.
		{"strict", balancer.Spread{Strict: true}, func(float64) float64 { return 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			other := place{priority: 1, zone: "b", n: 10}
			if c.spread.Zones == balancer.WeightedZones {
				other.priority = 0
			}
			l := newLand(place{zone: "a", n: 10, held: 10}, other)
			s := balancer.NewSpreader(balancer.Random{}, c.spread, balancer.Env{})
			s.Update(l.members, start)
			l.hold(0, 0, start)
			for i := range 10 {
				l.members[i].RampFor = 20 * time.Second
			}
			d := s.Update(l.members, start)
			require.InDelta(t, c.want(.1), d.Parts()[0].Load, 1e-9)
			last := 0.0
			for sec := 0.; sec <= 20; sec += .5 {
				now := start.Add(time.Duration(sec * float64(time.Second)))
				for _, keyed := range []bool{false, true} {
					got := l.shares(d.Picker(), balancer.Query{Now: now, HasHash: keyed}, 20000)[0]
					// A step of shares is up to 1.2 s, just before the end.
					low, high := c.want(max(.1, (sec-1.25)/20)), c.want(max(.1, sec/20))
					require.GreaterOrEqual(t, got, low-0.015, "after %v s", sec)
					require.LessOrEqual(t, got, high+0.015, "after %v s", sec)
					require.GreaterOrEqual(t, got, last-0.03)
					last = got
				}
			}
		})
	}
}

// A pick that is not used does not make PeakEWMA wait for an answer to it.
func TestPicksNotUsedAreTakenBack(t *testing.T) {
	now := time.Now()
	// chosen returns how many of 1000 calls go to a newcomer that was passed
	// over for a while and is then asked for the first time.
	chosen := func(pass func(p balancer.Picker, newcomer *endpoint.Endpoint, ramp bool) balancer.Picker, ramp time.Duration) (n int) {
		l := newLand(place{n: 1})
		newcomer := l.join(endpoint.Info{}, now)
		l.members[1].RampFor = ramp
		s := balancer.NewSpreader(balancer.PeakEWMA{}, balancer.Spread{SlowStart: balancer.SlowStart{MinPercent: 1e-6}}, balancer.Env{})
		d := s.Update(l.members, now)
		answered := func(ep *endpoint.Endpoint, at time.Time) {
			d.Observer().Observe(ep, outcome.Result{
				Outcome: outcome.Outcome{Class: outcome.Success}, At: at.Add(time.Millisecond), Latency: time.Millisecond,
			})
		}
		answered(l.at[0][0], now.Add(-time.Second))
		answered(newcomer, now.Add(-time.Second))
		p := pass(d.Picker(), newcomer, true)
		for draw := range uint64(100) {
			at := now.Add(time.Duration(draw) * time.Microsecond)
			ep := p.Pick(balancer.Query{Draw: draw, Now: at})
			require.False(t, ep == newcomer)
			answered(ep, at)
		}
		l.members[1].RampFor = 0
		p = pass(s.Update(l.members, now).Picker(), newcomer, false)
		l.controls[newcomer].Begin()
		l.controls[l.at[0][0]].Begin()
		for draw := range uint64(1000) {
			if p.Pick(balancer.Query{Draw: draw, Now: now.Add(10 * time.Second)}) == newcomer {
				n++
			}
		}
		return n
	}
	got := chosen(func(p balancer.Picker, _ *endpoint.Endpoint, _ bool) balancer.Picker { return p }, time.Hour)
	require.NotZero(t, got)
	// Negative control: passed over without a word.
	got = chosen(func(p balancer.Picker, newcomer *endpoint.Endpoint, ramp bool) balancer.Picker {
		if !ramp {
			newcomer = nil
		}
		return passing{p, newcomer}
	}, 0)
	require.Zero(t, got)
}

// passing picks until it is not a certain endpoint.
type passing struct {
	balancer.Picker
	not *endpoint.Endpoint
}

func (p passing) Pick(q balancer.Query) *endpoint.Endpoint {
	if ep := p.Picker.Pick(q); ep != p.not {
		return ep
	}
	q.Avoid = []*endpoint.Endpoint{p.not}
	return p.Picker.Pick(q)
}
