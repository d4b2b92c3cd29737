package health

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

func TestCompare(t *testing.T) {
	for name, c := range map[string]struct {
		own, peers tally
		want       finding
	}{
		"plain":                       {tally{60, 40}, tally{990, 10}, guilty},
		"peers in trouble":            {tally{0, 100}, tally{70, 30}, innocent},
		"as bad as the peers":         {tally{90, 10}, tally{900, 100}, innocent},
		"less than twice":             {tally{810, 190}, tally{9000, 1000}, innocent},
		"too small a gap":             {tally{9750, 250}, tally{99_990, 10}, innocent},
		"perhaps chance":              {tally{5, 7}, tally{20, 0}, undecided},
		"the same with more peers":    {tally{5, 7}, tally{100, 0}, guilty},
		"all fail, peers never":       {tally{0, 12}, tally{12, 0}, guilty},
		"no failures":                 {tally{100, 0}, tally{100, 0}, innocent},
		"a fifth of the peers' calls": {tally{10, 90}, tally{80, 20}, guilty},
	} {
		require.Equal(t, c.want, compare(c.own, c.peers), name)
	}
}

// The ratio is that of the multinomial: checked against the sum written out.
func TestLikelihood(t *testing.T) {
	require.InDelta(t, 3*math.Log(.3)+7*math.Log(.7), likelihood(tally{7, 3}), 1e-12)
	require.Zero(t, likelihood(tally{7, 0}))
	require.Zero(t, likelihood(tally{}))
}

// The sum raises alarm as fast as it promises, and hardly ever by chance.
// With the comparison left out it would accuse all when all are in trouble:
// the negative control of TestProofCommonTroubleEjectsNobody.
func TestWatch(t *testing.T) {
	since := tally{}
	calls := func(seed uint64, own float64, most int) int {
		draw := rand.New(rand.NewPCG(seed, 1))
		var s series
		now, peers := tally{}, tally{ok: 9950, failed: 50}
		for n := 1; n <= most; n++ {
			if draw.Float64() < own {
				now.failed++
			} else {
				now.ok++
			}
			s.take(now, 1)
			s.begin(tally{})
			if s.watch(peers, since) {
				return n
			}
		}
		return most
	}
	for _, c := range []struct {
		own  float64
		most int
	}{{1, 7}, {.3, 45}, {.1, 180}, {.05, 500}} {
		sum := 0
		for seed := range uint64(50) {
			sum += calls(seed, c.own, 100_000)
		}
		require.LessOrEqual(t, sum/50, c.most, "%v", c.own)
	}
	require.Equal(t, 1_000_000, calls(1, .005, 1_000_000), "as good as its peers")

	require.Less(t, calls(1, .1, 10_000), 500)
	since = tally{ok: 900, failed: 100}
	require.Equal(t, 10_000, calls(1, .1, 10_000), "as bad as its peers have become")
	since = tally{}

	accusations := 0
	for seed := range uint64(5) { // five endpoints, all of them failing
		if calls(seed, .5, 100) < 100 {
			accusations++
		}
	}
	require.Equal(t, 5, accusations)
}

// Where nobody can be compared with, the sum neither overflows nor forgets.
func TestScoreIsBounded(t *testing.T) {
	var s series
	s.take(tally{failed: 1e9}, 1)
	require.True(t, s.watch(tally{}, tally{}))
	require.LessOrEqual(t, s.score, float64(mostScore))
	s.take(tally{ok: 10_000, failed: 1e9}, 1)
	require.False(t, s.watch(tally{}, tally{}), "good calls speak for it")
}

// pair is two endpoints of which nothing but the comparison is asked.
type pair struct {
	t       *testing.T
	begin   time.Time
	records [2]*Record
}

func newPair(t *testing.T) *pair {
	p := &pair{t: t, begin: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	d := NewDetector(Outliers{Consecutive5xx: -1}, nil)
	for i, addr := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
		e, _ := endpoint.New(endpoint.Info{Addr: addr}, p.begin)
		p.records[i] = d.Join(e, p.begin)
	}
	return p
}

// give makes calls at a time and reports whether one accused the endpoint.
func (p *pair) give(i, ok, failed int, at time.Duration) (look bool) {
	for n := range ok + failed {
		c := outcome.Success
		if n >= ok {
			c = outcome.ServerError
		}
		res := outcome.Result{Outcome: outcome.Outcome{Class: c}, At: p.begin.Add(at)}
		look = p.records[i].Observe(res, false) || look
	}
	return look
}

func (p *pair) series(i int) *series { return &p.records[i].phase.Load().series }

// A comparison that finds nothing begins anew.
func TestInnocentBeginsAnew(t *testing.T) {
	p := newPair(t)
	p.give(0, 655, 345, 0)
	p.give(1, 820, 180, 0)
	require.False(t, p.give(1, 1, 0, time.Second))
	require.EqualValues(t, 345, p.series(0).step.failed, "swept")
	require.Zero(t, p.series(0).score, "raised alarm, but the peer fails half as often")
}

// Trouble that all have begins for one of them first: while the peers fail,
// too, in the last second, there is no accusation.
func TestFirstInCommonTrouble(t *testing.T) {
	p := newPair(t)
	p.give(0, 0, 12, 0)
	p.give(1, 9, 0, 0) // too few to compare with
	require.False(t, p.give(0, 0, 10, time.Second))
	require.GreaterOrEqual(t, p.series(0).score, float64(alarm))
	p.give(1, 5, 2, time.Second)
	require.False(t, p.give(0, 0, 1, 2*time.Second))
	p.give(1, 10, 0, 2*time.Second)
	require.True(t, p.give(0, 0, 1, 3*time.Second), "it was not that")
}

func TestPastFades(t *testing.T) {
	p := newPair(t)
	p.give(0, 0, 100, 0)
	p.give(0, 1, 0, time.Second)
	require.EqualValues(t, 100, p.series(0).usual.failed)
	p.give(0, 1, 0, 10*time.Minute)
	require.Less(t, p.series(0).usual.failed, .01)
}
