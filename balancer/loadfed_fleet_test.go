//go:build !race

package balancer_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// fed returns a pick by p from a simulation whose endpoints report what they
// have in flight, or what says says in the place of it, with each answer.
func (s *simulation) fed(p balancer.LoadFed, says map[*endpoint.Endpoint]endpoint.LoadReport) (pickFunc, balancer.Balancer) {
	b := p.New(balancer.Env{})
	picker := b.Update(s.eps)
	s.observe = func(ep *endpoint.Endpoint, r outcome.Result) {
		slow := 1.0
		if f, ok := s.slow[ep]; ok {
			slow = f
		}
		said, ok := says[ep]
		if !ok {
			said = report(float64(ep.InFlight()), 4, time.Duration(slow*float64(unit)))
		}
		s.controls[ep].Report(said, r.At)
		r.Reported = true
		b.(balancer.Observer).Observe(ep, r)
	}
	return func(_ *fleet, rnd *rand.Rand) *endpoint.Endpoint {
		return picker.Pick(balancer.Query{Draw: rnd.Uint64(), Attempt: 1, Now: clock(s.now)})
	}, b
}

// What fails fast has nothing to do, and says so.
func TestLoadFedIsNoSinkhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		share := func(p balancer.LoadFed) float64 {
			const n, calls = 50, 50000
			s := newSimulation(n, 1, 3)
			s.slow[s.eps[7]], s.failing[s.eps[7]] = 0.05, true
			pick, _ := s.fed(p, nil)
			s.run(5000, pick, nil)
			return float64(s.run(calls, pick, s.eps[7])) * n / calls
		}
		with, without := share(balancer.LoadFed{}), share(balancer.LoadFed{FailurePenalty: -1})
		t.Logf("%.3f of a fair share, %.1f if failures count as answers", with, without)
		assert.Less(t, with, 0.2)
		assert.Greater(t, without, 2.0)
	})
}

// An endpoint whose token has got lost is found again. Where one call is made
// at a time each leaves the token that the next one uses, so that nothing else
// would find it.
func TestLoadFedExplores(t *testing.T) {
	later := func(exploration float64) (n int) {
		f := newTokens(balancer.LoadFed{Exploration: exploration}, 5, nil)
		for i := range f.eps {
			f.say(i, report(1, 4, 10*ms))
		}
		f.tell(3, outcome.Result{Cut: true})
		for range 5000 {
			f.now = f.now.Add(10 * ms)
			i := f.pick()
			f.say(i, report(1, 4, 10*ms))
			if i == 3 {
				n++
			}
		}
		return n
	}
	with, without := later(0.02), later(-1)
	t.Logf("%d of 5000 picks, %d without exploration", with, without)
	assert.Greater(t, with, 8)
	assert.Zero(t, without)
}

// An endpoint that always claims to be idle, and fast, has no more than a few
// times its share, though calls do it no harm here.
func TestLoadFedBoundsWhatTokensGive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		share := func(n int) float64 {
			const calls = 20000
			s := newSimulation(n, 0.1, 3)
			liar := s.eps[n/2]
			pick, _ := s.fed(balancer.LoadFed{}, map[*endpoint.Endpoint]endpoint.LoadReport{liar: report(0, 1000, time.Microsecond)})
			s.run(5000, pick, nil)
			return float64(s.run(calls, pick, liar)) / calls
		}
		for _, n := range []int{20, 50, 100} {
			got := share(n)
			t.Logf("%d endpoints: %.3f", n, got)
			assert.Less(t, got, 6.0/float64(n))
		}
	})
}

// Endpoints that report nothing get their part beside those that do.
func TestLoadFedLeavesNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, calls = 20, 40000
		s := newSimulation(n, 1, 3)
		pick, b := s.fed(balancer.LoadFed{}, nil)
		told := s.observe
		s.observe = func(ep *endpoint.Endpoint, r outcome.Result) {
			if ep.Addr() < s.eps[n/2].Addr() {
				told(ep, r)
				return
			}
			b.(balancer.Observer).Observe(ep, r)
		}
		s.run(5000, pick, nil)
		silent := 0.0
		for ep, k := range s.shares(calls, pick) {
			if ep.Addr() >= s.eps[n/2].Addr() {
				silent += float64(k) / calls
			}
			assert.InDelta(t, 1, float64(k)*n/calls, .6, ep.Addr())
		}
		t.Logf("%.2f of the picks at the half that is silent", silent)
		assert.InDelta(t, .5, silent, .15)
	})
}

// An endpoint that does not answer any more is left before anybody says so.
func TestLoadFedLeavesASilentEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := func(p balancer.Policy) (n int) {
			for seed := range uint64(5) {
				s := newSimulation(10, 5, seed)
				pick := s.use(p)
				if fed, ok := p.(balancer.LoadFed); ok {
					pick, _ = s.fed(fed, nil)
				}
				s.run(5000, pick, nil)
				s.silent[s.eps[2]] = true
				n += s.run(20000, pick, s.eps[2])
			}
			return n
		}
		fed, least := lost(balancer.LoadFed{}), lost(balancer.LeastRequest{})
		t.Logf("%d calls lost, %d by least request", fed, least)
		assert.Less(t, fed, 200)
		assert.Greater(t, least, fed)
	})
}

// Tokens of endpoints that are not in the set any more are in nobody's way.
func TestLoadFedPassesOverTokensOfOthers(t *testing.T) {
	f := newTokens(balancer.LoadFed{}, 12, nil)
	for i := range f.eps {
		f.say(i, report(float64(i), 4, 10*ms))
	}
	f.picker = f.b.Update(f.eps[6:])
	before := f.counts()[balancer.PickToken]
	for range 100 {
		f.say(f.pick(), report(20, 4, 10*ms))
	}
	require.Greater(t, f.counts()[balancer.PickToken]-before, uint64(90))
}

// A token that a ramp does not let be used is put back.
func TestLoadFedPutsBackWhatARampRefuses(t *testing.T) {
	f := newFleet(4, nil)
	var members []balancer.Member
	now := time.Now()
	for i, ep := range f.eps {
		m := balancer.Member{Endpoint: ep}
		if i == 0 {
			f.controls[ep].Hold(endpoint.Ejected, "test", now)
			f.controls[ep].Lift(endpoint.Ejected, now)
			m.RampFor = time.Hour
		}
		members = append(members, m)
	}
	s := balancer.NewSpreader(balancer.LoadFed{Exploration: -1}, balancer.Spread{SlowStart: balancer.SlowStart{MinPercent: 1e-6}}, balancer.Env{})
	d := s.Update(members, now)
	answer := func(i int, inFlight float64) {
		f.controls[f.eps[i]].Report(report(inFlight, 100, 10*ms), now)
		d.Observer().Observe(f.eps[i], outcome.Result{
			Outcome: outcome.Outcome{Class: outcome.Success}, At: now, Latency: 10 * ms, Reported: true,
		})
	}
	for i := range f.eps {
		answer(i, float64(i))
	}
	// The token of the first is the best, and refused each time.
	for draw := range uint64(3) {
		require.NotEqual(t, f.eps[0], d.Picker().Pick(balancer.Query{Draw: draw, Now: now}))
	}
	require.EqualValues(t, 3, picksBy(d, balancer.PickToken), "each attempt counts once")
	// In a set without ramps it is there still, and nothing else is.
	members[0].RampFor = 0
	later := s.Update(members, now)
	before := picksBy(later, balancer.PickToken)
	require.Equal(t, f.eps[0], later.Picker().Pick(balancer.Query{Draw: 9, Now: now}))
	require.Equal(t, before+1, picksBy(later, balancer.PickToken))
	later.Picker().Pick(balancer.Query{Draw: 10, Now: now})
	require.Equal(t, before+1, picksBy(later, balancer.PickToken))
}

func picksBy(c balancer.Counted, reason string) uint64 { return counts(c)[reason] }

// A division counts over its parts, and over those that are no more.
func TestPicksAreCountedOverParts(t *testing.T) {
	s := balancer.NewSpreader(balancer.LoadFed{}, balancer.Spread{}, balancer.Env{})
	total := func(d *balancer.Division) (n uint64) {
		for _, c := range d.Picks() {
			n += c.Picks
		}
		return n
	}
	made := uint64(0)
	var last *balancer.Division
	for priority := range uint32(40) {
		l := newLand(place{priority: priority, n: 2}, place{priority: priority + 1, n: 2})
		last = s.Update(l.members, start)
		for draw := range uint64(25) {
			last.Picker().Pick(balancer.Query{Draw: draw, Now: start})
			made++
		}
	}
	require.Equal(t, made, total(last))
	require.Equal(t, total(last), total(s.Update(newLand(place{n: 1}).members, start)))
	require.Nil(t, balancer.NewSpreader(balancer.Random{}, balancer.Spread{}, balancer.Env{}).Update(newLand(place{n: 1}).members, start).Picks())
}
