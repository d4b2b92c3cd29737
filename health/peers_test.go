package health

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
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
		"successes taken back":        {tally{-1, 12}, tally{100, 0}, guilty},
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
			if s.watch(peers, tally{}) {
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
