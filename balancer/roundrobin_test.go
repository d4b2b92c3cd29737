package balancer_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

var weightSets = map[string][]uint32{
	"equal":        {7, 7, 7, 7, 7},
	"zero is one":  {0, 1, 0, 1},
	"one":          {5},
	"two":          {1, 3},
	"mixed":        {5, 1, 1},
	"common":       {100, 200, 300, 50},
	"primes":       {2, 3, 5, 7, 11, 13},
	"one heavy":    append([]uint32{1000}, slices.Repeat([]uint32{1}, 50)...),
	"canary":       {90, 10},
	"many":         slices.Repeat([]uint32{1, 2, 3, 4}, 100),
	"large coprim": {40000, 20001, 3},
}

// sequence returns who is picked, as indices into the set.
func sequence(picker balancer.Picker, eps []*endpoint.Endpoint, n int) []int {
	index := make(map[*endpoint.Endpoint]int, len(eps))
	for i, ep := range eps {
		index[ep] = i
	}
	seq := make([]int, n)
	for k := range seq {
		seq[k] = index[picker.Pick(balancer.Query{})]
	}
	return seq
}

// discrepancy returns by how many picks any endpoint departs at most from
// its share in any row of picks of seq.
func discrepancy(seq []int, ws []uint32) float64 {
	total := 0.0
	for _, w := range ws {
		total += float64(max(1, w))
	}
	worst := 0.0
	for i, w := range ws {
		share := float64(max(1, w)) / total
		// A row is the difference of two beginnings of seq.
		low, high, had := 0.0, 0.0, 0.0
		for k, who := range seq {
			if who == i {
				had++
			}
			off := had - share*float64(k+1)
			low, high = min(low, off), max(high, off)
		}
		worst = max(worst, high-low)
	}
	return worst
}

func TestRoundRobinIsExactAndSmooth(t *testing.T) {
	for name, ws := range weightSets {
		for seed := range uint64(5) {
			f := newFleet(len(ws), weights(ws...))
			picker := balancer.RoundRobin{}.New(balancer.Env{Seed: seed}).Update(f.eps)
			var total int
			for _, w := range ws {
				total += int(max(1, w))
			}
			seq := sequence(picker, f.eps, 2*total)
			if d := discrepancy(seq, ws); d >= 2 {
				t.Errorf("%s, seed %d: %.3f picks from the share", name, seed, d)
			}
			counts := make([]int, len(ws))
			for _, who := range seq[:total] {
				counts[who]++
			}
			for i, w := range ws {
				if counts[i] != int(max(1, w)) {
					t.Errorf("%s, seed %d: endpoint %d of weight %d has %d turns in a cycle", name, seed, i, w, counts[i])
				}
			}
			if gap, limit := widestGap(seq, ws, total); gap > limit {
				t.Errorf("%s, seed %d: %d picks between two turns, share allows %d", name, seed, gap, limit)
			}
		}
	}
}

// widestGap returns the widest gap between two turns of an endpoint and the
// limit for it, for the endpoint that is worst off: twice the mean distance.
func widestGap(seq []int, ws []uint32, total int) (gap, limit int) {
	last := map[int]int{}
	worst := 0.0
	for k, who := range seq {
		if at, ok := last[who]; ok {
			most := int(math.Ceil(2 * float64(total) / float64(max(1, ws[who]))))
			if r := float64(k-at) / float64(most); r > worst {
				worst, gap, limit = r, k-at, most
			}
		}
		last[who] = k
	}
	return gap, limit
}

// Negative control: turns in a row, each weight at once, and turns by chance
// are neither smooth.
func TestSmoothnessNoticesClumps(t *testing.T) {
	ws := weightSets["common"]
	var blocks []int
	for range 2 {
		for i, w := range ws {
			blocks = append(blocks, slices.Repeat([]int{i}, int(w))...)
		}
	}
	if discrepancy(blocks, ws) < 2 {
		t.Error("blocks pass for smooth")
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	chance := make([]int, 1300)
	for k := range chance {
		for left := rnd.Uint32N(650); left >= ws[chance[k]]; chance[k]++ {
			left -= ws[chance[k]]
		}
	}
	if discrepancy(chance, ws) < 2 {
		t.Error("chance passes for smooth")
	}
	if gap, limit := widestGap(chance, ws, 650); gap <= limit {
		t.Error("chance leaves no gap")
	}
}

// Weights beyond what a cycle can hold are rounded, not refused and not
// paid for with memory.
func TestRoundRobinRoundsHugeWeights(t *testing.T) {
	ws := []uint32{math.MaxUint32, math.MaxUint32 / 3, 1_000_003, 1}
	f := newFleet(len(ws), weights(ws...))
	picker := balancer.RoundRobin{}.New(balancer.Env{Seed: 1}).Update(f.eps)
	const picks = 1 << 18
	counts := make([]float64, len(ws))
	for _, who := range sequence(picker, f.eps, picks) {
		counts[who]++
	}
	total := 0.0
	for _, w := range ws {
		total += float64(w)
	}
	for i, w := range ws {
		share, got := float64(w)/total, counts[i]/picks
		if math.Abs(got-share) > 2.0/(1<<16) || got == 0 {
			t.Errorf("weight %d: share %v, want %v", w, got, share)
		}
	}
}

func TestRoundRobinStartsAnywhere(t *testing.T) {
	f := newFleet(10, nil)
	starts := make([]int, 10)
	for seed := range uint64(1000) {
		picker := balancer.RoundRobin{}.New(balancer.Env{Seed: seed}).Update(f.eps)
		starts[sequence(picker, f.eps, 1)[0]]++
	}
	if x := chiSquare(starts, nil); x > 27.9 { // 9 degrees of freedom, p = 0.001
		t.Errorf("starts %v, χ² %.1f", starts, x)
	}
}

// chiSquare compares counts with their expectation in proportion to weights,
// equal if nil.
func chiSquare(counts []int, ws []uint32) float64 {
	total, sum := 0, 0.0
	for i, c := range counts {
		total += c
		if ws != nil {
			sum += float64(ws[i])
		}
	}
	x := 0.0
	for i, c := range counts {
		want := float64(total) / float64(len(counts))
		if ws != nil {
			want = float64(total) * float64(ws[i]) / sum
		}
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	return x
}

// updates runs picks through a set that changes every few picks and returns
// how often each endpoint was picked, divided by its fair share.
func updates(b func() balancer.Balancer, everyPicks, perRound, picks int, sets ...[]*endpoint.Endpoint) map[*endpoint.Endpoint]float64 {
	bal := b()
	fair, got := map[*endpoint.Endpoint]float64{}, map[*endpoint.Endpoint]float64{}
	next := 0
	var picker balancer.Picker
	for k := range picks {
		if k%everyPicks == 0 {
			for range perRound {
				picker = bal.Update(sets[next%len(sets)])
				next++
			}
		}
		set := sets[(next-1)%len(sets)]
		for _, ep := range set {
			fair[ep] += 1 / float64(len(set))
		}
		got[picker.Pick(balancer.Query{})]++
	}
	for ep := range fair {
		got[ep] /= fair[ep]
	}
	return got
}

// A new endpoint has its share from the first picks on, also while the set
// goes on changing.
func TestRoundRobinNeitherStarvesNorFloods(t *testing.T) {
	f := newFleet(21, nil)
	for name, newcomer := range map[string]int{"first": 0, "middle": 10, "last": 20} {
		old := slices.Delete(slices.Clone(f.eps), newcomer, newcomer+1)
		for seed := range uint64(50) {
			b := balancer.RoundRobin{}.New(balancer.Env{Seed: seed})
			picker := b.Update(old)
			for range seed {
				picker.Pick(balancer.Query{})
			}
			picker = b.Update(f.eps)
			n, first := 0, 4*len(f.eps)
			for range first {
				if picker.Pick(balancer.Query{}) == f.eps[newcomer] {
					n++
				}
			}
			if fair := first / len(f.eps); n < fair/2 || n > 2*fair {
				t.Errorf("%s, seed %d: %d of the first %d picks, fair is %d", name, seed, n, first, fair)
			}
		}
	}
}

func TestRoundRobinUnderConstantChange(t *testing.T) {
	f := newFleet(20, nil)
	all, less := f.eps, slices.Delete(slices.Clone(f.eps), 7, 8)
	for name, c := range map[string]struct{ every, per int }{
		"a change for each pick":   {1, 1},
		"two changes for each":     {1, 2},
		"three changes for each":   {1, 3},
		"a change in three picks":  {3, 1},
		"a change in twenty picks": {20, 1},
	} {
		run := func(b func() balancer.Balancer) (low, high float64) {
			low = math.Inf(1)
			for _, share := range updates(b, c.every, c.per, 2000, all, less) {
				low, high = min(low, share), max(high, share)
			}
			return low, high
		}
		low, high := run(func() balancer.Balancer { return balancer.RoundRobin{}.New(balancer.Env{Seed: 1}) })
		if low < 0.5 || high > 2 {
			t.Errorf("%s: between %.2f and %.2f of the fair share", name, low, high)
		}
		// Negative control: one that begins anew with each update.
		low, high = run(func() balancer.Balancer { return restarting{} })
		if low >= 0.5 && high <= 2 && c.every < 20 {
			t.Errorf("%s: nothing noticed where each update begins anew", name)
		}
	}
}

type restarting struct{}

func (restarting) Update(eps []*endpoint.Endpoint) balancer.Picker {
	return balancer.RoundRobin{}.New(balancer.Env{Seed: 1}).Update(eps)
}

// An update for another weight goes on where the cycle was.
func TestRoundRobinTakesOverNewWeights(t *testing.T) {
	f := newFleet(2, weights(1, 1))
	b := balancer.RoundRobin{}.New(balancer.Env{Seed: 1})
	for _, ws := range [][]uint32{{1, 1}, {1, 3}, {9, 1}, {2, 2}} {
		for i, ep := range f.eps {
			f.controls[ep].SetInfo(endpoint.Info{Weight: ws[i]}, ep.Since())
		}
		seq := sequence(b.Update(f.eps), f.eps, 1000)
		if d := discrepancy(seq, ws); d >= 2 {
			t.Errorf("%v: %.2f picks from the share", ws, d)
		}
	}
}

func TestRoundRobinIsExactInParallel(t *testing.T) {
	const goroutines, each = 4, 5000
	f := newFleet(10, nil)
	picker := balancer.RoundRobin{}.New(balancer.Env{Seed: 1}).Update(f.eps)
	results := make(chan map[*endpoint.Endpoint]int, goroutines)
	for range goroutines {
		go func() {
			counts := map[*endpoint.Endpoint]int{}
			for range each {
				counts[picker.Pick(balancer.Query{})]++
			}
			results <- counts
		}()
	}
	sum := map[*endpoint.Endpoint]int{}
	for range goroutines {
		for ep, n := range <-results {
			sum[ep] += n
		}
	}
	for ep, n := range sum {
		if n != goroutines*each/len(f.eps) {
			t.Errorf("%s: %d picks", ep.Addr(), n)
		}
	}
}
