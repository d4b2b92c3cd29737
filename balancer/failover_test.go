// Chance without concurrency: the race detector would only take its time.

//go:build !race

package balancer_test

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
)

// failover is the story of a zone: 100 clients in zone a, each with a
// division of its own, call endpoints in three zones. Zone a is killed, found
// out and held after a second, and comes back one endpoint after the other.
type failover struct {
	// abroad and failed are the parts of calls that left the zone and that
	// went to endpoints that were dead, in each second.
	abroad, failed []float64
	// peak is the most calls that any endpoint got in one second, of its
	// share of that second, and herd that of the endpoints of zone a in the
	// first second after they came back.
	peak, herd float64
}

const (
	killed   = 2 * time.Second
	noticed  = 3 * time.Second
	returned = 6 * time.Second
	gap      = 300 * time.Millisecond // between the returns of endpoints
	ended    = 16 * time.Second
)

func simulateFailover(spread balancer.Spread, ramp time.Duration) failover {
	const clients, n, rate = 100, 4, 6000.
	l := newLand(place{zone: "a", n: n}, place{zone: "b", n: n}, place{zone: "c", n: n})
	rnd := rand.New(rand.NewPCG(2026, 3))
	var spreaders []*balancer.Spreader
	pickers := make([]balancer.Picker, clients)
	for i := range clients {
		spreaders = append(spreaders, balancer.NewSpreader(balancer.LeastRequest{}, spread, balancer.Env{Zone: "a", Seed: uint64(i)}))
	}
	update := func(now time.Time) {
		for i, s := range spreaders {
			pickers[i] = s.Update(l.members, now).Picker()
		}
	}
	update(start)
	type change struct {
		at time.Duration
		do func(now time.Time)
	}
	changes := []change{{noticed, func(now time.Time) { l.hold(0, n, now) }}}
	back := map[*endpoint.Endpoint]time.Duration{}
	for i, ep := range l.at[0] {
		at := returned + time.Duration(i)*gap
		back[ep] = at
		changes = append(changes, change{at, func(now time.Time) {
			l.controls[ep].Lift(endpoint.Unhealthy, now)
			l.members[i].RampFor = ramp
		}})
	}
	seconds := int(ended / time.Second)
	f := failover{abroad: make([]float64, seconds), failed: make([]float64, seconds)}
	perSecond := map[*endpoint.Endpoint][]float64{}
	first := map[*endpoint.Endpoint]float64{}
	calls := make([]float64, seconds)
	var flying ends
	for at := time.Duration(0); ; {
		at += time.Duration(rnd.ExpFloat64() / rate * float64(time.Second))
		if at >= ended {
			break
		}
		now := start.Add(at)
		for len(changes) > 0 && changes[0].at <= at {
			changes[0].do(start.Add(changes[0].at))
			update(start.Add(changes[0].at))
			changes = changes[1:]
		}
		for len(flying) > 0 && flying[0].at <= at.Seconds() {
			l.controls[heap.Pop(&flying).(end).ep].End()
		}
		ep := pickers[rnd.IntN(clients)].Pick(balancer.Query{Draw: rnd.Uint64(), Attempt: 1, Now: now})
		l.controls[ep].Begin()
		heap.Push(&flying, end{at.Seconds() + rnd.ExpFloat64()*0.005, 0, ep})
		sec := int(at / time.Second)
		calls[sec]++
		if l.of[ep] != 0 {
			f.abroad[sec]++
		} else if at >= killed && at < back[ep] {
			f.failed[sec]++
		}
		if perSecond[ep] == nil {
			perSecond[ep] = make([]float64, seconds)
		}
		perSecond[ep][sec]++
		if since := at - back[ep]; l.of[ep] == 0 && since >= 0 && since < time.Second {
			first[ep]++
		}
	}
	// At home each endpoint has a quarter of all calls.
	for _, counts := range perSecond {
		f.peak = max(f.peak, slices.Max(counts)/(rate/n))
	}
	for _, c := range first {
		f.herd = max(f.herd, c/(rate/n))
	}
	for i := range calls {
		f.abroad[i] /= calls[i]
		f.failed[i] /= calls[i]
	}
	return f
}

// A zone that dies costs what is lost until it is noticed and no more, calls
// spill to other zones, and when it returns no endpoint gets more than twice
// its share in its first second, and hardly more than its ramp says.
func TestFailoverAndReturn(t *testing.T) {
	near := balancer.Spread{Zones: balancer.NearestZone}
	strict := near
	strict.Strict = true
	stories := []struct {
		name string
		failover
	}{
		{"ramp of 5 s", simulateFailover(near, 5*time.Second)},
		{"no ramp", simulateFailover(near, 0)},
		{"strict, no ramp", simulateFailover(strict, 0)},
		{"zones ignored", simulateFailover(balancer.Spread{}, 5*time.Second)},
	}
	for _, s := range stories {
		t.Logf("%-16s first second of a return: %.2f of the share of an endpoint; most in any second: %.2f", s.name, s.herd, s.peak)
		t.Logf("   second  failed  abroad")
		for i := range s.abroad {
			t.Logf("   %6d  %5.1f%%  %5.1f%%", i, 100*s.failed[i], 100*s.abroad[i])
		}
	}
	ramped, plain, stern, blind := stories[0], stories[1], stories[2], stories[3]
	for _, s := range stories[:3] {
		for i, failed := range s.failed {
			switch sec := time.Duration(i) * time.Second; {
			case sec >= killed && sec < noticed:
				if failed < 0.99 || s.abroad[i] > 0.01 {
					t.Errorf("%s: the zone is not dead in second %d", s.name, i)
				}
			case failed > 0:
				t.Errorf("%s: %.1f %% fail in second %d", s.name, 100*failed, i)
			}
		}
		if s.abroad[0] > 0 || s.abroad[4] < 1 || s.abroad[15] > 0 {
			t.Errorf("%s: abroad %.2f, %.2f when the zone is held, %.2f at the end", s.name, s.abroad[0], s.abroad[4], s.abroad[15])
		}
	}
	// The zone takes its calls back little by little.
	for i := 7; i < 12; i++ {
		if ramped.abroad[i] > ramped.abroad[i-1] {
			t.Errorf("abroad grows in second %d", i)
		}
	}
	if ramped.abroad[7] < 0.3 {
		t.Errorf("the zone is back at once: %.2f abroad", ramped.abroad[7])
	}
	if ramped.herd > 0.7 || ramped.peak > 2 {
		t.Errorf("with a ramp: %.2f, %.2f of the share", ramped.herd, ramped.peak)
	}
	// Negative controls.
	if plain.herd < 1 || plain.abroad[7] > 0 {
		t.Errorf("without a ramp: %.2f of the share", plain.herd)
	}
	if stern.herd <= 2 {
		t.Errorf("strict: %.2f of the share", stern.herd)
	}
	if blind.abroad[0] < 0.6 {
		t.Errorf("zones count for those who ignore them: %.2f abroad", blind.abroad[0])
	}
}

// An idle newcomer beside one busy endpoint, which least request would always
// choose, is not given all calls.
func TestRampHoldsAgainstLoad(t *testing.T) {
	share := func(ramp time.Duration, policy balancer.Policy) float64 {
		l := newLand(place{n: 1})
		l.join(endpoint.Info{}, start)
		l.members[1].RampFor = ramp
		for range 50 {
			l.controls[l.at[0][0]].Begin()
		}
		p := balancer.NewSpreader(policy, balancer.Spread{}, balancer.Env{}).Update(l.members, start).Picker()
		return l.shares(p, balancer.Query{Now: start}, 20000)[1]
	}
	for _, p := range []balancer.Policy{balancer.LeastRequest{}, balancer.PeakEWMA{}} {
		// A factor of 0.1 where the mean is 0.55.
		if got := share(time.Minute, p); got > 0.2 || got < 0.05 {
			t.Errorf("%T: %.2f of all calls", p, got)
		}
		if got := share(0, p); got < 0.99 {
			t.Errorf("%T: %.2f without a ramp", p, got)
		}
	}
}
