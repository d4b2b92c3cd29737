package health

import (
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
)

// planned is a schedule with n endpoints that have joined, and a source of
// chance.
func planned(n, limit int, interval time.Duration) (*schedule, []*Checked, *rand.Rand) {
	s, rng := &schedule{limit: limit, armed: forever}, rand.New(rand.NewPCG(1, 2))
	all := make([]*Checked, n)
	s.advance(0)
	for i := range all {
		all[i] = &Checked{index: idle, subject: Subject{Probe: Probe{Interval: interval}.Effective()}}
		s.join(all[i], rng.Uint64())
	}
	s.arm()
	return s, all, rng
}

// play lets time pass from one moment to another in steps of a millisecond;
// probes take a number of them. It tells each that is claimed.
func play(s *schedule, rng *rand.Rand, from, to time.Duration, takes int, claimed func(*Checked, time.Duration)) {
	under := make([][]*Checked, takes)
	for i, now := 0, from; now < to; i, now = i+1, now+time.Millisecond {
		s.advance(now)
		for _, c := range under[i%takes] {
			s.finish(c, rng.Uint64())
		}
		under[i%takes] = nil
		for c := s.claim(); c != nil; c = s.claim() {
			claimed(c, now)
			under[i%takes] = append(under[i%takes], c)
		}
		s.arm()
	}
	for _, cs := range under {
		for _, c := range cs {
			s.finish(c, rng.Uint64())
		}
	}
	s.arm()
}

// After a long stop the schedule goes on where it stopped. The control does
// not know that it stopped, and has everything to do at once.
func TestAProcessThatStoodStillDoesNotBurst(t *testing.T) {
	const n = 10_000
	peak := func(heedless bool, stood time.Duration) (top, total int) {
		s, _, rng := planned(n, 64, 10*time.Second)
		play(s, rng, 0, 30*time.Second, 1, func(*Checked, time.Duration) {})
		if heedless {
			s.armed = forever
		}
		from, slots := 30*time.Second+stood, map[time.Duration]int{}
		play(s, rng, from, from+10*time.Second, 1, func(_ *Checked, now time.Duration) {
			slots[now/(100*time.Millisecond)]++
			top = max(top, slots[now/(100*time.Millisecond)])
			total++
		})
		return top, total
	}
	for _, stood := range []time.Duration{time.Second, time.Minute, 100 * time.Hour} {
		top, total := peak(false, stood)
		assert.LessOrEqual(t, top, 160, "after %v: 100 in a tenth of a second are a fair share", stood)
		assert.InEpsilon(t, n, total, 0.05)
	}
	top, _ := peak(true, time.Minute)
	assert.Greater(t, top, 1000, "a burst is noticed")
}

// It is noticed too while nothing is planned but the end of a probe.
func TestAProcessThatStoodStillDuringAProbe(t *testing.T) {
	for stood, want := range map[time.Duration]bool{time.Minute: true, lookout: false} {
		s, _, _ := planned(1, 64, 10*time.Second)
		c := s.claim()
		require.NotNil(t, c)
		s.arm()
		s.advance(stood)
		assert.Equal(t, want, s.stalled(c), "after %v", stood)
	}
}

// What could not be done in time is left out when there is room again.
func TestMissedProbesAreNotMadeUpFor(t *testing.T) {
	s, _, rng := planned(100, 4, time.Second)
	play(s, rng, 0, 100*time.Second, 500, func(*Checked, time.Duration) {})
	n := 0
	play(s, rng, 100*time.Second, 110*time.Second, 1, func(*Checked, time.Duration) { n++ })
	assert.InDelta(t, 1000, n, 200)
}

// Intervals are off by a tenth at most, and as long as they say on average.
func TestIntervalsVary(t *testing.T) {
	s, _, rng := planned(1, 64, 10*time.Second)
	var at []time.Duration
	play(s, rng, 0, 3000*time.Second, 1, func(_ *Checked, now time.Duration) { at = append(at, now) })
	at = at[1:] // the first one is cut short
	shortest, longest := time.Hour, time.Duration(0)
	for i := range at[1:] {
		shortest, longest = min(shortest, at[i+1]-at[i]), max(longest, at[i+1]-at[i])
	}
	assert.InDelta(t, 9, shortest.Seconds(), 0.1)
	assert.InDelta(t, 11, longest.Seconds(), 0.1)
	assert.InEpsilon(t, 10, (at[len(at)-1]-at[0]).Seconds()/float64(len(at)-1), 0.02)
}

// Where there are more probes than places, everybody gets as many.
func TestTooManyProbesAreSharedOut(t *testing.T) {
	s, all, rng := planned(100, 4, time.Second)
	counts := map[*Checked]int{}
	running := 0
	play(s, rng, 0, 100*time.Second, 100, func(c *Checked, _ time.Duration) {
		counts[c]++
		running = max(running, s.running)
	})
	assert.Equal(t, 4, running)
	for _, c := range all { // 4 places, each for 10 probes a second: 40 for each endpoint
		assert.InDelta(t, 40, counts[c], 2)
	}
	assert.Zero(t, s.stalls, "to be busy is not to stand still")
}

// No two probes of an endpoint are under way at once, none is lost, and the
// counts agree, whatever joins and leaves.
func TestScheduleKeepsItsBooks(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	s := &schedule{limit: 5, armed: forever}
	under, here := map[*Checked]bool{}, map[*Checked]bool{}
	now := time.Duration(0)
	for range 20_000 {
		now += time.Duration(rng.IntN(3)) * time.Millisecond
		s.advance(now)
		switch rng.IntN(4) {
		case 0:
			if len(here) < 50 {
				c := &Checked{index: idle, subject: Subject{Probe: Probe{Interval: 50 * time.Millisecond}.Effective()}}
				here[c] = true
				s.join(c, rng.Uint64())
			}
		case 1:
			for c := range here {
				if rng.IntN(10) == 0 {
					c.stopped = true
					s.leave(c)
					delete(here, c)
				}
				break
			}
		case 2:
			for c := range under {
				c.again = rng.IntN(10) == 0
				s.finish(c, rng.Uint64())
				delete(under, c)
				break
			}
		default:
			if c := s.claim(); c != nil {
				require.False(t, under[c])
				require.False(t, c.stopped)
				require.LessOrEqual(t, c.due, s.now)
				under[c] = true
			}
		}
		s.arm()
		waiting, joining := 0, 0
		for c := range here {
			if !under[c] {
				waiting++
				require.Same(t, c, s.queue[c.index])
			}
			if !c.probed {
				joining++
			}
		}
		require.Len(t, s.queue, waiting)
		require.Equal(t, joining, s.joining)
		require.Equal(t, len(under), s.running)
	}
}

// A probe that fails while the process stands still says nothing, and is made
// again at once.
func TestFailuresOfAProcessThatStoodStillAreDisregarded(t *testing.T) {
	for _, stood := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := NewProber(ProberOptions{Draw: func() uint64 { return 1 << 63 }})
			defer p.Close()
			rt := &silent{}
			c := p.Watch(Subject{Name: "reviews", Endpoint: someEndpoint(), Probe: Probe{Path: "/"}, RoundTripper: rt})
			synctest.Wait()
			if stood {
				// A look at the schedule is overdue: so it is after a stop.
				p.mu.Lock()
				p.schedule.armed = p.now() - time.Minute
				p.mu.Unlock()
			}
			rt.now.Store(true)
			time.Sleep(time.Second)
			synctest.Wait()
			healthy, known, cause, _ := c.Verdict()
			stats := c.Stats()
			if stood {
				require.True(t, known)
				assert.True(t, healthy, "the second probe decides")
				assert.EqualValues(t, 2, stats.Probes)
				assert.EqualValues(t, 1, stats.Disregarded)
				assert.Zero(t, stats.Failures)
				return
			}
			require.True(t, known)
			assert.False(t, healthy)
			assert.Equal(t, "probe: no answer within 1s", cause)
			assert.Zero(t, stats.Disregarded)
		})
	}
}

// silent gives no answer, unless it is told to answer now.
type silent struct{ now atomic.Bool }

func (s *silent) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.now.Load() {
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func someEndpoint() *endpoint.Endpoint {
	e, _ := endpoint.New(endpoint.Info{Addr: "a:80"}, time.Now())
	return e
}

// One step: a probe is claimed, ends, and the next one is planned.
func BenchmarkSchedule(b *testing.B) {
	s, _, rng := planned(10_000, 64, 10*time.Second)
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		c := s.claim()
		for c == nil {
			now = s.queue[0].due + s.shift
			s.advance(now)
			s.arm()
			c = s.claim()
		}
		s.finish(c, rng.Uint64())
		s.arm()
	}
}
