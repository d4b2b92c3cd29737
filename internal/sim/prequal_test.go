package sim

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
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

// A server that stops to answer is left when what it said is a second old, one
// that is held at once; both come back.
func TestPrequalLeavesWhoDoesNotAnswer(t *testing.T) {
	run := func(c Chooser) Result {
		return Scenario{
			Seed: 1, Servers: Servers(10, Server{}), Callers: 10, Load: 0.9, Chooser: c, Warm: -1, Measure: 8 * time.Second,
			Changes: []Change{
				{At: 2 * time.Second, Do: func(f *Fleet) { f.Hang(3); f.Hold(endpoint.Unhealthy, 7) }},
				{At: 5 * time.Second, Do: func(f *Fleet) { f.Resume(3); f.Lift(endpoint.Unhealthy, 7) }},
			},
		}.Run(t)
	}
	// share is of the calls of a second, in parts of an even share.
	share := func(r Result, second, server int) float64 {
		all := 0
		for _, n := range r.Seconds[second].Picks {
			all += n
		}
		return float64(r.Seconds[second].Picks[server]*10) / float64(all)
	}
	r := run(Prequal{})
	for _, second := range []int{3, 4} {
		if hung, held := share(r, second, 3), share(r, second, 7); hung > 0.01 || held > 0 {
			t.Errorf("second %d: %.3f of its share for the one that hangs, %.3f for that which is held", second, hung, held)
		}
	}
	for _, second := range []int{1, 6, 7} {
		if hung, held := share(r, second, 3), share(r, second, 7); hung < 0.5 || held < 0.5 {
			t.Errorf("second %d: %.3f and %.3f of their shares", second, hung, held)
		}
	}
	// Control: chance sees nothing.
	if hung := share(run(Balanced{Policy: balancer.Random{}}), 4, 3); hung < 0.9 {
		t.Errorf("control: %.3f of its share for the one that hangs", hung)
	}
}
