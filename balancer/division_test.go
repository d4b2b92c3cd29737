//go:build !race

package balancer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// dividedPolicy is a policy whose picks go through a division into three
// zones in which some endpoints are in their ramps, or through a faulty one.
type dividedPolicy struct {
	balancer.Policy
	bend func(balancer.Picker) balancer.Picker
}

func (p dividedPolicy) New(env balancer.Env) balancer.Balancer {
	return &dividedBalancer{p, balancer.NewSpreader(p.Policy, balancer.Spread{
		Zones:       balancer.WeightedZones,
		ZoneWeights: []balancer.ZoneWeight{{Zone: "zone-0", Weight: 1}, {Zone: "zone-1", Weight: 1}, {Zone: "zone-2", Weight: 1}},
		SlowStart:   balancer.SlowStart{MinPercent: 30},
	}, env)}
}

type dividedBalancer struct {
	policy dividedPolicy
	*balancer.Spreader
}

func (b *dividedBalancer) Update(eps []*endpoint.Endpoint) balancer.Picker {
	members := make([]balancer.Member, len(eps))
	for i, ep := range eps {
		members[i].Endpoint = ep
		if i%2 == 1 {
			members[i].RampFor = time.Hour
		}
	}
	p := b.Spreader.Update(members, time.Unix(60, 0)).Picker()
	if b.policy.bend != nil {
		p = b.policy.bend(p)
	}
	return ticking{p}
}

// ticking says what time it is to a picker that must know it.
type ticking struct{ balancer.Picker }

func (t ticking) Pick(q balancer.Query) *endpoint.Endpoint {
	q.Now = time.Unix(120, 0)
	return t.Picker.Pick(q)
}

// careless takes what it finds in spite of what is to be avoided.
type careless struct{ balancer.Picker }

func (c careless) Pick(q balancer.Query) *endpoint.Endpoint {
	q.Avoid = nil
	return c.Picker.Pick(q)
}

// Through a division each policy keeps its promises.
func TestDivisionKeepsTheContract(t *testing.T) {
	for name, p := range policies {
		if name == "Maglev" || name == "ring hash" || name == "least request of the max" {
			continue // much work, and no other than their smaller forms
		}
		t.Run(name, func(t *testing.T) {
			for promise, check := range contract {
				if promise == "is a comparable value, valid by default" || promise == "observes whatever comes" {
					continue
				}
				require.NoError(t, check(dividedPolicy{Policy: p}), promise)
			}
		})
	}
	bend := func(p balancer.Picker) balancer.Picker { return careless{p} }
	require.Error(t, contract["avoids what it can"](dividedPolicy{balancer.Random{}, bend}))
}

func TestSinglePartIsThePolicysOwn(t *testing.T) {
	l := newLand(place{n: 3})
	s := balancer.NewSpreader(balancer.PeakEWMA{}, balancer.Spread{}, balancer.Env{})
	d := s.Update(l.members, start)
	plain := balancer.PeakEWMA{}.New(balancer.Env{})
	require.IsType(t, plain.Update(l.at[0]), d.Picker())
	require.IsType(t, plain, d.Observer())
	require.Nil(t, l.divide(balancer.Spread{}, balancer.Env{}).Observer())
	// In a ramp it cannot be, and after it it is again.
	l.members[0].RampFor = 2 * time.Hour
	require.NotEqual(t, fmt.Sprintf("%T", plain.Update(l.at[0])), fmt.Sprintf("%T", s.Update(l.members, start).Picker()))
	require.IsType(t, plain.Update(l.at[0]), s.Update(l.members, start.Add(time.Hour)).Picker())
}

// nothing is a policy that makes no Balancer from a certain time on.
type nothing struct{ left *int }

func (n nothing) New(env balancer.Env) balancer.Balancer {
	if *n.left--; *n.left < 0 {
		return nil
	}
	return balancer.Random{}.New(env)
}
func (nothing) Validate() error { return nil }

func TestPolicyWithoutABalancer(t *testing.T) {
	left := 0
	require.Nil(t, balancer.NewSpreader(nothing{&left}, balancer.Spread{}, balancer.Env{}))
	left = 1
	s := balancer.NewSpreader(nothing{&left}, balancer.Spread{}, balancer.Env{})
	require.NotNil(t, s)
	s.Update(newLand(place{n: 1}).members, start)
	require.PanicsWithValue(t, "balancer: balancer_test.nothing.New has returned nil", func() {
		s.Update(newLand(place{n: 1}, place{priority: 1, n: 1}).members, start)
	})
}

// counting is a policy that says how many Balancers it has made.
type counting struct{ seeds *[]uint64 }

func (c counting) New(env balancer.Env) balancer.Balancer {
	*c.seeds = append(*c.seeds, env.Seed)
	return balancer.LeastRequest{}.New(env)
}
func (counting) Validate() error { return nil }

func TestPartsKeepTheirBalancers(t *testing.T) {
	var seeds []uint64
	s := balancer.NewSpreader(counting{&seeds}, balancer.Spread{}, balancer.Env{Seed: 5})
	l := newLand(place{n: 2}, place{priority: 1, n: 2})
	for range 10 {
		s.Update(l.members, start)
		s.Update(l.members[:2], start)
		s.Update(l.members[2:], start)
	}
	require.Len(t, seeds, 2)
	require.EqualValues(t, 5, seeds[0])
	require.NotEqual(t, seeds[0], seeds[1])
	// Parts that come and go for ever are not all kept: the first has to be
	// made again.
	for i := range 200 {
		s.Update(newLand(place{priority: uint32(10 + i), n: 1}).members, start)
	}
	require.Len(t, seeds, 202)
	s.Update(l.members[:2], start)
	require.Len(t, seeds, 203)
}

// What a policy has learnt of a part stays with it over updates, also those
// in which the part has nothing to pick.
func TestPartsKeepWhatTheyKnow(t *testing.T) {
	l := newLand(place{zone: "a", n: 2}, place{zone: "b", n: 2})
	s := balancer.NewSpreader(balancer.PeakEWMA{}, balancer.Spread{
		Zones: balancer.WeightedZones, ZoneWeights: []balancer.ZoneWeight{{"a", 1}, {"b", 1}},
	}, balancer.Env{})
	now := time.Now()
	d := s.Update(l.members, now)
	slow := []*endpoint.Endpoint{l.at[0][0], l.at[1][1]}
	for _, ep := range slices.Concat(l.at...) {
		latency := time.Millisecond
		if slices.Contains(slow, ep) {
			latency = time.Second
		}
		d.Observer().Observe(ep, outcome.Result{Outcome: outcome.Outcome{Class: outcome.Success}, At: now, Latency: latency})
	}
	d.Observer().Observe(newLand(place{n: 1}).at[0][0], outcome.Result{}) // a stranger
	picks := func(d *balancer.Division) (n int) {
		for draw := range uint64(1000) {
			if slices.Contains(slow, d.Picker().Pick(balancer.Query{Draw: draw, Now: now})) {
				n++
			}
		}
		return n
	}
	require.Zero(t, picks(d))
	l.hold(0, 2, now)
	s.Update(l.members, now)
	l.hold(0, 0, now)
	require.Zero(t, picks(s.Update(l.members, now)))
	// Negative control: one that knows nothing.
	fresh := balancer.NewSpreader(balancer.PeakEWMA{}, balancer.Spread{}, balancer.Env{}).Update(l.members, now)
	require.NotZero(t, picks(fresh))
}

// An attempt that is to avoid all endpoints of its part goes to another part:
// first to one with a share, then to the next tier without one.
func TestAttemptsLeaveTheirPart(t *testing.T) {
	l := newLand(place{zone: "a", n: 2}, place{zone: "b", n: 2}, place{zone: "c", n: 2}, place{priority: 1, n: 1}, place{priority: 2, n: 1})
	d := l.divide(balancer.Spread{
		Zones: balancer.WeightedZones, ZoneWeights: []balancer.ZoneWeight{{"a", 1}, {"b", 1}, {"c", 1}},
	}, balancer.Env{})
	require.InDeltaSlice(t, []float64{1. / 3, 1. / 3, 1. / 3, 0, 0}, loads(d), 1e-9)
	for _, keyed := range []bool{false, true} {
		q := balancer.Query{HasHash: keyed, Attempt: 2, Avoid: l.at[0]}
		require.InDeltaSlice(t, []float64{0, .5, .5, 0, 0}, l.shares(d.Picker(), q, 10000), 0.02)
		q.Avoid = slices.Concat(l.at[0], l.at[2])
		require.InDeltaSlice(t, []float64{0, 1, 0, 0, 0}, l.shares(d.Picker(), q, 1000), 1e-9)
		q.Avoid = slices.Concat(l.at[:3]...)
		require.InDeltaSlice(t, []float64{0, 0, 0, 1, 0}, l.shares(d.Picker(), q, 1000), 1e-9)
		q.Avoid = slices.Concat(l.at[:4]...)
		require.InDeltaSlice(t, []float64{0, 0, 0, 0, 1}, l.shares(d.Picker(), q, 1000), 1e-9)
		// When there is nothing else a call stays where it belongs.
		q.Avoid = slices.Concat(l.at...)
		require.InDeltaSlice(t, []float64{1. / 3, 1. / 3, 1. / 3, 0, 0}, l.shares(d.Picker(), q, 10000), 0.02)
	}
	// A tier of which nothing is available is no refuge from the other.
	l.hold(3, 1, start)
	d = l.divide(balancer.Spread{}, balancer.Env{})
	require.InDeltaSlice(t, []float64{0, 0, 0, 0, 1}, l.shares(d.Picker(), balancer.Query{Avoid: slices.Concat(l.at[:3]...)}, 100), 1e-9)
}

// zonesOf returns where the calls of keys go.
func (l *land) zonesOf(p balancer.Picker, keys int, now time.Time) []int {
	to := make([]int, keys)
	for i := range to {
		to[i] = l.of[p.Pick(balancer.Query{Hash: keyHash(i), HasHash: true, Draw: rand.Uint64(), Now: now})]
	}
	return to
}

// cuts is the negative control of keys that move: parts that have ranges of
// hashes one after the other.
func cuts(shares []float64, keys int) []int {
	to := make([]int, keys)
	for i := range to {
		u, sum := float64(keyHash(i)>>11)/(1<<53), 0.0
		for j, s := range shares {
			if sum += s; u < sum {
				to[i] = j
				break
			}
		}
	}
	return to
}

// A key moves from one part to another only if that one's share has grown in
// proportion. So that a part that goes moves its own keys only, and of two
// tiers none moves the wrong way.
func TestKeysMoveOnlyWhereTheyMust(t *testing.T) {
	const keys = 5000
	places := []place{{zone: "a", n: 100}, {zone: "b", n: 100}, {zone: "c", n: 100}, {priority: 1, zone: "a", n: 100}}
	spread := balancer.Spread{Zones: balancer.WeightedZones, ZoneWeights: []balancer.ZoneWeight{{"a", 2}, {"b", 1}, {"c", 1}}}
	wrong := func(before, after []int, was, is []float64) (n int) {
		for i := range before {
			from, to := before[i], after[i]
			if from != to && is[to]*was[from] <= is[from]*was[to]*(1+1e-9) {
				n++
			}
		}
		return n
	}
	moved := func(before, after []int) (n int) {
		for i := range before {
			if before[i] != after[i] {
				n++
			}
		}
		return n
	}
	l := newLand(places...)
	divide := func() ([]int, []float64) {
		d := balancer.NewSpreader(balancer.Rendezvous{}, spread, balancer.Env{Seed: rand.Uint64()}).Update(l.members, start)
		return l.zonesOf(d.Picker(), keys, start), loads(d)
	}
	before, was := divide()
	again, _ := divide()
	require.Equal(t, before, again, "other processes send keys elsewhere")
	cutBefore := cuts(was, keys)
	cutWrong := 0
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		l.hold(rnd.IntN(3), []int{0, 30, 60, 100}[rnd.IntN(4)], start)
		after, is := divide()
		require.Zero(t, wrong(before, after, was, is))
		// No more than what is best for choices without a memory.
		var distance float64
		for i := range was {
			distance += math.Abs(was[i]-is[i]) / 2
		}
		require.LessOrEqual(t, float64(moved(before, after)), keys*(2*distance/(1+distance)+0.02))
		cutAfter := cuts(is, keys)
		cutWrong += wrong(cutBefore, cutAfter, was, is)
		before, was, cutBefore = after, is, cutAfter
	}
	require.NotZero(t, cutWrong, "negative control")

	// Which part a key has says nothing of where in it the key is.
	counts := map[*endpoint.Endpoint]int{}
	l = newLand(places...)
	d := balancer.NewSpreader(balancer.Maglev{}, spread, balancer.Env{}).Update(l.members, start)
	for i := range 60000 {
		counts[d.Picker().Pick(balancer.Query{Hash: keyHash(i), HasHash: true})]++
	}
	for i, want := range []float64{300, 150, 150} {
		for _, ep := range l.at[i] {
			require.InDelta(t, want, counts[ep], 6*math.Sqrt(want))
		}
	}
}
