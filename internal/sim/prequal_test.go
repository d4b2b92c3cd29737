package sim

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
)

func TestReuseBudget(t *testing.T) {
	for n, want := range map[int]float64{
		// (1-16/n)·3 - 1 is 1.52, 0.5, 1.97 and 2.
		100: 2 / 1.52, 32: 4, 1600: 1.0152, math.MaxInt: 1,
		// Here it is 0.0857, -0.4, 0 and -47.
		25: 16, 26: 2 / 0.15384615, 20: 16, 24: 16, 1: 16,
	} {
		if got := reuseBudget(n); math.Abs(got-want) > 1e-4 {
			t.Errorf("%d servers: %v, want %v", n, got, want)
		}
	}
}

// filled returns a pool of {in flight, ms}, of servers counted from 0.
func filled(of ...[2]int) *pool {
	p := &pool{}
	for i, a := range of {
		p.add(probed{server: i, inFlight: a[0], latency: time.Duration(a[1]) * time.Millisecond, uses: 2})
	}
	return p
}

func (p *pool) servers() (all []int) {
	for _, a := range p.answers {
		all = append(all, a.server)
	}
	return all
}

func TestHotAndCold(t *testing.T) {
	for name, tt := range map[string]struct {
		pool        *pool
		limit       int
		best, worst int
	}{
		"the cold one of the lowest latency": {filled([2]int{3, 20}, [2]int{5, 10}, [2]int{6, 1}, [2]int{0, 30}), 5, 1, 2},
		"at the limit is cold":               {filled([2]int{5, 10}, [2]int{4, 20}), 5, 0, 1},
		"all cold: the highest latency":      {filled([2]int{3, 20}, [2]int{5, 10}, [2]int{0, 30}), 5, 1, 2},
		"all hot: the fewest requests":       {filled([2]int{9, 1}, [2]int{7, 90}, [2]int{8, 2}), 6, 1, 0},
		"hot ones by requests alone":         {filled([2]int{9, 1}, [2]int{12, 3}, [2]int{10, 900}, [2]int{1, 1000}), 6, 3, 1},
		"nothing is hot":                     {filled([2]int{99, 5}, [2]int{1, 6}), math.MaxInt, 0, 1},
	} {
		if best := tt.pool.best(tt.limit); best != tt.best {
			t.Errorf("%s: the best is %d, want %d", name, best, tt.best)
		}
		before := tt.pool.servers()
		tt.pool.shed(tt.limit, true)
		if want := slices.Delete(before, tt.worst, tt.worst+1); !slices.Equal(tt.pool.servers(), want) {
			t.Errorf("%s: left are %v, want %v", name, tt.pool.servers(), want)
		}
	}
}

func TestPool(t *testing.T) {
	p := filled([2]int{1, 1}, [2]int{2, 2}, [2]int{3, 3})
	if p.shed(math.MaxInt, false); !slices.Equal(p.servers(), []int{1, 2}) {
		t.Errorf("without the oldest: %v", p.servers())
	}
	// A use adds a request, and the last takes the answer away.
	if server := p.use(0); server != 1 || p.answers[0].inFlight != 3 {
		t.Errorf("%d was used and is %+v", server, p.answers[0])
	}
	if p.use(0); !slices.Equal(p.servers(), []int{2}) {
		t.Errorf("used up: %v", p.servers())
	}
	if p.shed(0, true); len(p.answers) != 0 {
		t.Errorf("shed: %v", p.servers())
	}
	p.shed(0, false) // of nothing

	// A newer answer of a server replaces the older; the oldest makes room.
	for i := range prequalPool {
		p.add(probed{server: i, uses: 1})
	}
	p.add(probed{server: 4, inFlight: 7, uses: 1})
	if s := p.servers(); len(s) != prequalPool || s[0] != 0 || s[prequalPool-1] != 4 || p.answers[prequalPool-1].inFlight != 7 {
		t.Errorf("one came anew: %v", s)
	}
	p.add(probed{server: 99, uses: 1})
	if s := p.servers(); len(s) != prequalPool || s[0] != 1 || s[prequalPool-1] != 99 {
		t.Errorf("one too many came: %v", s)
	}

	base := time.Unix(100, 0)
	p = &pool{}
	for i := range 4 {
		p.add(probed{server: i, at: base.Add(time.Duration(i) * time.Second), uses: 1})
	}
	if p.forget(base.Add(2 * time.Second)); !slices.Equal(p.servers(), []int{2, 3}) {
		t.Errorf("older ones stay: %v", p.servers())
	}
}

func TestLimit(t *testing.T) {
	for _, tt := range []struct {
		quantile float64
		told     []int
		want     int
	}{
		{0.84, nil, math.MaxInt},
		{0.84, []int{7}, 7},
		{0, []int{5, 1, 3}, 1},
		{1, []int{5, 1, 3}, 5},
		{0.6, []int{5, 4, 3, 2, 1}, 3},
		{0.61, []int{5, 4, 3, 2, 1}, 4},
		// Only the last 64 count.
		{1, append([]int{1000}, make([]int, prequalRecent)...), 0},
	} {
		r := recent{quantile: tt.quantile}
		for _, n := range tt.told {
			r.add(n)
		}
		if got := r.limit(); got != tt.want {
			t.Errorf("%v of %v: %d, want %d", tt.quantile, tt.told, got, tt.want)
		}
	}
}

// By the budget an answer serves as many calls on the average; used once, one.
func TestPrequalSpendsItsBudget(t *testing.T) {
	for _, tt := range []struct {
		servers int
		once    bool
		want    float64
	}{{100, false, 2 / 1.52}, {40, false, 2 / 0.8}, {40, true, 1}, {20, false, 16}} {
		c := &Caller{rnd: (&Fleet{}).random(1, 1), usable: make([]int, tt.servers)}
		q := Prequal{Once: tt.once}.New(c).(*prequal)
		sum := 0
		for range 20000 {
			sum += q.uses()
		}
		if mean := float64(sum) / 20000; math.Abs(mean-tt.want) > 0.02 {
			t.Errorf("%+v: %v", tt, mean)
		}
	}
}

// uneven are n servers of which half are slower, all of them with spells.
func uneven(n int) []Server {
	all := Servers(n, Server{Sharing: true, Spells: Spells{Mean: time.Second, Gap: 5 * time.Second, Low: 0.4, High: 0.9}})
	for i := range n / 2 {
		all[i].Speed = 0.6
	}
	return all
}

// What independent simulations found: where callers are many, probes do far
// better than what each caller sees by itself, an answer that is used once
// better than one that is used on and on, and nothing as well as knowing all.
func TestPrequalAmongOthers(t *testing.T) {
	t.Log(Head)
	p99 := func(name string, c Chooser) time.Duration {
		r := Scenario{
			Seed: 1, Servers: uneven(20), Callers: 200, Load: 0.85, Work: Work{Sigma: 0.83},
			Warm: 15 * time.Second, Measure: 15 * time.Second, Chooser: c,
		}.Run(t)
		t.Logf("%v %s, %.1f probes for a call, %.0f s", r, name, float64(r.Probes)/float64(r.All), r.Took.Seconds())
		return r.P99
	}
	p99("prequal", Prequal{})
	p99("prequal, Q 0.6", Prequal{Quantile: 0.6})
	p99("prequal, Q 0.6, once", Prequal{Quantile: 0.6, Once: true})
	p99("prequal, requests only", Prequal{Quantile: -1})
	p99("least request", Balanced{Policy: balancer.LeastRequest{}})
	p99("peak EWMA", Balanced{Policy: balancer.PeakEWMA{}})
	p99("random", Balanced{Policy: balancer.Random{}})
	p99("wrr", Balanced{Policy: balancer.WeightedRoundRobin{}})
	p99("jsq", Central{})
}
