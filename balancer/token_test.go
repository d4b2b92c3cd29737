package balancer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
)

// What bounds the share is the turns that tokens take: without them an
// endpoint that is always the best has more.
func TestTurnsBoundTheShareOfTokens(t *testing.T) {
	share := func(n int, bounded bool) float64 {
		var eps []*endpoint.Endpoint
		controls := map[*endpoint.Endpoint]*endpoint.Control{}
		for i := range n {
			ep, c := endpoint.New(endpoint.Info{Addr: string(rune('A' + i))}, time.Now())
			eps, controls[ep] = append(eps, ep), c
		}
		b := LoadFed{}.New(Env{})
		p := b.Update(eps).(*loadPicker)
		if !bounded {
			clear(p.turns)
		}
		now := time.Now()
		answer := func(ep *endpoint.Endpoint) {
			r := endpoint.LoadReport{InFlight: 3, Limit: 4, ServiceTime: 10 * time.Millisecond}
			if ep == eps[0] {
				r.InFlight = 0
			}
			controls[ep].Report(r, now)
			b.(Observer).Observe(ep, outcome.Result{
				Outcome: outcome.Outcome{Class: outcome.Success}, At: now, Latency: 10 * time.Millisecond, Reported: true,
			})
		}
		for _, ep := range eps {
			answer(ep)
		}
		const picks = 20000
		got := 0
		for draw := range uint64(picks) {
			now = now.Add(time.Millisecond)
			ep := p.Pick(Query{Draw: draw * 0x9e3779b97f4a7c15, Now: now})
			if answer(ep); ep == eps[0] {
				got++
			}
		}
		return float64(got) / picks
	}
	for _, n := range []int{20, 50} {
		assert.Less(t, share(n, true), 1.1*maxShare/float64(n))
		assert.Greater(t, share(n, false), 1.5*maxShare/float64(n))
	}
	// Of three, one may have two thirds.
	assert.InDelta(t, 2.0/3, share(3, true), .05)
}

// A token that is put back is there as it was, once, and not in the place of a
// newer one.
func TestTokenIsPutBack(t *testing.T) {
	const ms = int64(1 << tickBits)
	var ts tokens
	f := &fed{number: 7}
	ts.put(f, 100, 5*ms)
	first := f.token.word.Load()
	use := func() {
		f.used.Store(f.token.word.Swap(0))
		for i := range ts.slots {
			ts.slots[i].Store(0)
		}
	}
	named := func() (n int) {
		for i := range ts.slots {
			if uint32(ts.slots[i].Load()) == 7 {
				n++
			}
		}
		return n
	}
	use()
	ts.back(f, 0)
	assert.Equal(t, first, f.token.word.Load())
	assert.Equal(t, 1, named())
	ts.back(f, 0)
	assert.Equal(t, 1, named())
	use()
	ts.put(f, 50, 6*ms)
	second := f.token.word.Load()
	ts.back(f, 0)
	assert.Equal(t, second, f.token.word.Load())
	assert.NotEqual(t, first, second)
	assert.Equal(t, 1, named())
}

// What is looked for is found wherever it is, and nothing that is not beyond
// what was tried.
func TestLeastToken(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var ts tokens
		var all []uint64
		for i := range ts.slots {
			if rnd.IntN(3) > 0 {
				s := 1 + rnd.Uint64N(math.MaxUint64>>rnd.UintN(60))
				ts.slots[i].Store(s)
				all = append(all, s)
			}
		}
		slices.Sort(all)
		all = slices.Compact(all)
		var beyond uint64
		for _, s := range all {
			require.Equal(t, s, ts.least(beyond), "of %d beyond %d", all, beyond)
			beyond = s
		}
		if len(all) < maxTokens {
			require.Zero(t, ts.least(beyond), "of %d beyond %d", all, beyond)
		}
	}
}

// A slot is found by the hint or without it, and none is emptied that holds
// something else.
func TestDropToken(t *testing.T) {
	for hint := range uint32(maxTokens) {
		var ts tokens
		for i := range ts.slots {
			ts.slots[i].Store(uint64(i + 1))
		}
		ts.drop(100, hint)
		ts.drop(5, hint)
		for i := range ts.slots {
			want := uint64(i + 1)
			if want == 5 {
				want = 0
			}
			assert.Equal(t, want, ts.slots[i].Load())
		}
	}
}

// Each endpoint has one slot, and where there are more endpoints than slots
// the newest have them.
func TestTokensNameTheNewest(t *testing.T) {
	var ts tokens
	all := make([]*fed, 3*maxTokens)
	for i := range all {
		all[i] = &fed{number: uint32(i)}
	}
	for range 3 {
		for _, f := range all[:maxTokens] {
			ts.put(f, 10, 0)
		}
	}
	numbers := func() map[uint32]int {
		n := map[uint32]int{}
		for i := range ts.slots {
			n[uint32(ts.slots[i].Load())]++
		}
		return n
	}
	assert.Len(t, numbers(), maxTokens)
	for _, f := range all[maxTokens:] {
		ts.put(f, 10, 0)
	}
	for number := range numbers() {
		assert.GreaterOrEqual(t, number, uint32(2*maxTokens))
	}
}

func TestFractionOfFaults(t *testing.T) {
	decay := float64(10 * time.Second)
	var f fraction
	at := func(d time.Duration) float64 { return f.at(int64(d), decay) }
	f.add(false, 0, decay, faultStep)
	assert.Zero(t, f.word.Load())
	f.add(true, int64(time.Second), decay, faultStep)
	assert.InDelta(t, .125, at(time.Second), 1e-6)
	assert.InDelta(t, .125/2.71828, at(11*time.Second), 1e-3)
	assert.Zero(t, at(time.Minute))
	for range 100 {
		f.add(true, int64(2*time.Second), decay, faultStep)
	}
	assert.InDelta(t, 1, at(2*time.Second), 1e-3)
	for range 60 {
		f.add(false, int64(2*time.Second), decay, faultStep)
	}
	assert.Zero(t, at(2*time.Second))
}

// What a pick by a token and what a report cost, each by itself: reports and
// picks take turns, eight of each, and the clock is read in between, which is
// in the figures with a few ns. The reports are of different endpoints in
// changing order, as which token is the best should not be foreseeable to the
// processor either. The part of the picks that used a token is told too.
func BenchmarkTokenPick(b *testing.B) {
	const batch = 8
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var eps []*endpoint.Endpoint
			policy := LoadFed{}.New(Env{})
			base := time.Now()
			for i := range n {
				ep, control := endpoint.New(endpoint.Info{Addr: fmt.Sprint(i)}, base)
				control.Report(endpoint.LoadReport{InFlight: float64(i % 7), Limit: 4, ServiceTime: 10 * time.Millisecond}, base)
				eps = append(eps, ep)
			}
			p, o := policy.Update(eps), policy.(Observer)
			result := outcome.Result{
				Outcome: outcome.Outcome{Class: outcome.Success}, At: base, Latency: 500 * time.Microsecond, Reported: true,
			}
			for _, ep := range eps {
				o.Observe(ep, result)
			}
			var batches, inReports, inPicks atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var q Query
				result := result
				var reporting, picking time.Duration
				for pb.Next() {
					count := batches.Add(1)
					r := random{uint64(count)}
					at, stride := r.below(uint64(n)), [...]uint64{1, 3, 7, 9}[r.word()%4]
					q.Now = base.Add(time.Duration(count) * time.Millisecond)
					result.At = q.Now
					start := time.Now()
					for k := range uint64(batch) {
						o.Observe(eps[(at+k*stride)%uint64(n)], result)
					}
					middle := time.Now()
					for range batch {
						q.Draw += 0x9e3779b97f4a7c15
						p.Pick(q)
					}
					picking += time.Since(middle)
					reporting += middle.Sub(start)
				}
				inReports.Add(int64(reporting))
				inPicks.Add(int64(picking))
			})
			of := float64(batch * batches.Load())
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(inPicks.Load())/of, "ns/pick")
			b.ReportMetric(float64(inReports.Load())/of, "ns/report")
			b.ReportMetric(float64(policy.(Counted).Picks()[pickedToken].Picks)/of, "tokens/pick")
		})
	}
}
