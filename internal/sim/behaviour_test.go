package sim_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/internal/sim"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
)

// watch takes usable servers by chance and tells of what comes back.
type watch struct {
	seen func(c *sim.Caller, server int, r outcome.Result)
}

func (w watch) New(c *sim.Caller) sim.Picker { return &watching{watch: w, caller: c} }

type watching struct {
	watch
	caller *sim.Caller
}

func (w *watching) Pick(_ time.Time, draw uint64) int {
	usable := w.caller.Usable()
	if len(usable) == 0 {
		return -1
	}
	return usable[draw%uint64(len(usable))]
}

func (w *watching) Observe(server int, r outcome.Result) { w.seen(w.caller, server, r) }

// span is what servers answer from one time to another.
type span struct {
	classes  map[outcome.Class]int
	fastest  time.Duration
	slowest  time.Duration
	cut      int
	reported int
}

// spans runs a scenario and returns what server n answered to the calls that
// began between each two of the given times.
func spans(t *testing.T, s sim.Scenario, n int, times ...time.Duration) []span {
	t.Helper()
	out := make([]span, len(times))
	for i := range out {
		out[i] = span{classes: map[outcome.Class]int{}, fastest: time.Hour}
	}
	var base time.Time
	s.Warm = -1
	s.Changes = append([]sim.Change{{Do: func(f *sim.Fleet) { base = f.Now() }}}, s.Changes...)
	s.Chooser = watch{func(_ *sim.Caller, server int, r outcome.Result) {
		at := r.At.Add(-r.Latency).Sub(base)
		for i := len(times) - 1; i >= 0; i-- {
			if server == n && at >= times[i] {
				o := &out[i]
				o.classes[r.Class]++
				o.fastest, o.slowest = min(o.fastest, r.Latency), max(o.slowest, r.Latency)
				if r.Cut {
					o.cut++
				}
				if r.Reported {
					o.reported++
				}
				return
			}
		}
	}}
	s.Run(t)
	return out
}

const second = time.Second

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func behaves(changes ...sim.Change) sim.Scenario {
	return sim.Scenario{
		Seed: 1, Servers: sim.Servers(2, sim.Server{Sharing: true}), Load: .2, Changes: changes,
		Work: sim.Work{Constant: true}, Timeout: 200 * time.Millisecond, Measure: 4 * second,
	}
}

func at(d time.Duration, do func(*sim.Fleet)) sim.Change { return sim.Change{At: d, Do: do} }

func TestFailFast(t *testing.T) {
	s := spans(t, behaves(
		at(1*second, func(f *sim.Fleet) { f.FailFast(0, 200*time.Microsecond) }),
		at(2*second, func(f *sim.Fleet) { f.Resume(0) }),
	), 0, 0, second, 2*second)
	require.Len(t, s[0].classes, 1)
	require.Len(t, s[2].classes, 1)
	require.Equal(t, map[outcome.Class]int{outcome.Gateway: s[1].reported}, s[1].classes)
	require.Greater(t, s[1].reported, 20)
	require.Equal(t, 700*time.Microsecond, s[1].fastest)
	require.Equal(t, 700*time.Microsecond, s[1].slowest)
	require.Equal(t, 10500*time.Microsecond, s[0].fastest, "else the work and two messages")
}

// A server that hangs answers when it goes on: those who still wait, and
// nobody else.
func TestHang(t *testing.T) {
	for _, abandon := range []bool{false, true} {
		sc := behaves(
			at(1*second, func(f *sim.Fleet) { f.Hang(0) }),
			at(2*second, func(f *sim.Fleet) { f.Resume(0) }),
		)
		sc.Abandon = abandon
		s := spans(t, sc, 0, 0, 1020*time.Millisecond, 1800*time.Millisecond, 2*second, 3*second)
		timeout := 200 * time.Millisecond
		require.Equal(t, map[outcome.Class]int{outcome.Timeout: s[1].cut}, s[1].classes)
		require.Greater(t, s[1].cut, 20)
		require.Equal(t, timeout, s[1].fastest)
		require.Equal(t, timeout, s[1].slowest)
		require.Equal(t, timeout, s[2].slowest)
		require.Equal(t, map[outcome.Class]int{outcome.Success: s[4].reported}, s[4].classes)
		if abandon {
			require.Greater(t, s[3].slowest, 100*time.Millisecond, "it does all it was asked to")
		} else {
			require.Greater(t, s[2].classes[outcome.Success], 2, "some waited until it went on")
			require.Less(t, s[3].slowest, 100*time.Millisecond, "it does what is waited for")
		}
	}
}

func TestCrash(t *testing.T) {
	sc := behaves(
		at(1*second, func(f *sim.Fleet) { f.Crash(0) }),
		at(2*second, func(f *sim.Fleet) { f.Resume(0) }),
	)
	sc.Load = .6
	s := spans(t, sc, 0, 0, 1*second, 2*second)
	require.Greater(t, s[0].classes[outcome.Reset], 0, "what was under way")
	require.Equal(t, s[0].classes[outcome.Reset], s[0].cut)
	require.Less(t, s[0].cut, 10)
	require.Zero(t, s[0].classes[outcome.Connect])
	require.Len(t, s[1].classes, 1)
	require.Greater(t, s[1].classes[outcome.Connect], 20)
	require.Equal(t, 500*time.Microsecond, s[1].slowest)
	require.Zero(t, s[1].cut)
	require.Len(t, s[2].classes, 1)
}

// What is in line at a guard is not turned away by a server that hangs, but
// may be when it goes on.
func TestHangInLine(t *testing.T) {
	sc := behaves(
		at(1*second, func(f *sim.Fleet) { f.Hang(0) }),
		at(1100*time.Millisecond, func(f *sim.Fleet) { f.Resume(0) }),
	)
	sc.Load = 4
	sc.Servers[0].Guard = &overload.Policy{MaxInFlight: 4, MaxWait: 50 * time.Millisecond}
	s := spans(t, sc, 0, 0, 900*time.Millisecond, 1100*time.Millisecond)
	require.Greater(t, s[0].classes[outcome.Gateway], 100)
	require.Less(t, s[0].slowest, 70*time.Millisecond)
	require.Greater(t, s[1].classes[outcome.Gateway], 10)
	require.Greater(t, s[1].slowest, 100*time.Millisecond)
	var early int
	sc.Chooser = watch{func(c *sim.Caller, server int, r outcome.Result) {
		since := r.At.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
		if server == 0 && since > 1001*time.Millisecond && since < 1100*time.Millisecond {
			early++
		}
	}}
	sc.Run(t)
	require.Zero(t, early)
}

// A server that crashes does not end what it was about to fail.
func TestCrashWhileFailing(t *testing.T) {
	s := spans(t, behaves(
		at(0, func(f *sim.Fleet) { f.FailFast(0, 300*time.Millisecond) }),
		at(1*second, func(f *sim.Fleet) { f.Crash(0) }),
	), 0, 0, 1*second)
	require.Zero(t, s[0].classes[outcome.Gateway], "the time-out is earlier")
	sc := behaves(
		at(0, func(f *sim.Fleet) { f.FailFast(0, 100*time.Millisecond) }),
		at(1*second, func(f *sim.Fleet) { f.Crash(0) }),
	)
	s = spans(t, sc, 0, 0, 898*time.Millisecond, 998*time.Millisecond)
	require.Equal(t, map[outcome.Class]int{outcome.Gateway: s[0].reported}, s[0].classes)
	require.Len(t, s[1].classes, 1)
	require.Greater(t, s[1].classes[outcome.Reset], 2)
}

// Messages take what they are said to take, and as much more as chance adds.
func TestDelayAndJitter(t *testing.T) {
	sc := behaves(at(0, func(f *sim.Fleet) { f.FailFast(0, time.Millisecond) }))
	sc.Delay, sc.Jitter = time.Millisecond, 2*time.Millisecond
	s := spans(t, sc, 0, 0)
	require.GreaterOrEqual(t, s[0].fastest, 3*time.Millisecond)
	require.Less(t, s[0].fastest, 4*time.Millisecond)
	require.LessOrEqual(t, s[0].slowest, 7*time.Millisecond)
	require.Greater(t, s[0].slowest, 6*time.Millisecond)
}

// Servers that come back grow into their share within the ramp.
func TestRamp(t *testing.T) {
	back := func(ramp time.Duration) float64 {
		s := behaves(
			at(1*second, func(f *sim.Fleet) { f.Hold(endpoint.Ejected, 0) }),
			at(2*second, func(f *sim.Fleet) { f.Lift(endpoint.Ejected, 0) }),
		)
		s.Warm, s.Servers, s.Load = -1, sim.Servers(4, sim.Server{}), .5
		s.Chooser = sim.Balanced{Policy: balancer.Random{}, Ramp: ramp}
		return s.Run(t).Seconds[2].Share(0)
	}
	require.InDelta(t, .25, back(0), .05)
	require.Less(t, back(2*second), .15)
}

// What a server had in hand when it stopped, and nobody waits for, it lets go
// of when it goes on.
func TestHangInHand(t *testing.T) {
	after := func(abandon bool) span {
		sc := behaves(
			at(900*time.Millisecond, func(f *sim.Fleet) { f.SetSpeed(0, .01); f.SetLoad(10) }),
			at(1*second, func(f *sim.Fleet) { f.Hang(0); f.SetLoad(.05) }),
			at(2*second, func(f *sim.Fleet) { f.SetSpeed(0, 1); f.Resume(0) }),
		)
		sc.Abandon = abandon
		sc.Servers[0].Sharing = false
		return spans(t, sc, 0, 0, 2*second, 2500*time.Millisecond)[1]
	}
	require.Len(t, after(false).classes, 1)
	require.Greater(t, after(false).classes[outcome.Success], 2)
	require.Greater(t, after(true).classes[outcome.Timeout], 2)
}

// Picks by reason are those of the calls that are counted.
func TestReasons(t *testing.T) {
	s := behaves()
	s.Chooser = sim.Balanced{Policy: balancer.LoadFed{}}
	r := s.Run(t)
	all := uint64(0)
	for _, n := range r.Reasons {
		all += n
	}
	require.EqualValues(t, r.Calls+r.SentBack, all)
	require.Less(t, r.Calls, r.All)
	require.Greater(t, r.Reasons[balancer.PickToken], all/2)
	s.Chooser = sim.Balanced{Policy: balancer.Random{}}
	require.Nil(t, s.Run(t).Reasons)
}

// Who knows everything keeps away from servers that do not work.
func TestCentralKnowsWhoWorks(t *testing.T) {
	for _, stop := range []func(*sim.Fleet){
		func(f *sim.Fleet) { f.FailFast(0, time.Millisecond) },
		func(f *sim.Fleet) { f.Hang(0) },
		func(f *sim.Fleet) { f.Crash(0) },
	} {
		for _, c := range []sim.Central{{}, {ByDelay: true}, {Choices: 2}} {
			s := behaves(at(0, stop))
			s.Chooser = c
			r := s.Run(t)
			require.Zero(t, r.Failed)
			require.Greater(t, r.Calls, 100)
		}
	}
}

// Whoever stops at once what nobody waits for keeps up better under more than
// it can do.
func TestAbandon(t *testing.T) {
	run := func(abandon bool) float64 {
		s := behaves()
		s.Servers = sim.Servers(2, sim.Server{})
		s.Load, s.Abandon, s.Chooser, s.Warm, s.Work = 1.5, abandon, sim.Central{}, second, sim.Work{}
		return s.Run(t).ErrorShare()
	}
	require.InDelta(t, 1-1/1.5, run(false), .04, "as much is done as can be")
	require.Greater(t, run(true), .95)
}

// Who gives up leaves the line at the guard.
func TestLeaveLine(t *testing.T) {
	after := func(abandon bool) span {
		sc := behaves(
			at(1*second, func(f *sim.Fleet) { f.FailFast(0, 500*time.Millisecond) }),
			at(2*second, func(f *sim.Fleet) { f.Resume(0) }),
		)
		sc.Abandon, sc.Load = abandon, .4
		sc.Servers[0].Guard = &overload.Policy{MaxInFlight: 4, Waiting: 1 << 20, MaxWait: time.Minute}
		return spans(t, sc, 0, 0, 2150*time.Millisecond, 2250*time.Millisecond)[1]
	}
	require.Len(t, after(false).classes, 1)
	require.Greater(t, after(false).classes[outcome.Success], 5)
	require.Greater(t, after(true).classes[outcome.Timeout], 5, "it still does what it was asked to before")
}

// Servers that are held get nothing, and those that come late nothing before.
func TestHoldAndJoin(t *testing.T) {
	for _, c := range []sim.Chooser{
		sim.Balanced{Policy: balancer.LeastRequest{}}, sim.Pinned{}, sim.Central{}, sim.Central{Choices: 2},
	} {
		s := sim.Scenario{
			Seed: 1, Servers: sim.Servers(4, sim.Server{}), Callers: 40, Load: .3, Warm: -1, Measure: 4 * second, Chooser: c,
			Changes: []sim.Change{
				at(1*second, func(f *sim.Fleet) { f.Hold(endpoint.Unhealthy, 0) }),
				at(2*second, func(f *sim.Fleet) { f.Lift(endpoint.Unhealthy, 0) }),
			},
		}
		s.Servers[3].Joins = 3 * second
		r := s.Run(t)
		require.Greater(t, r.Seconds[0].Picks[0], 0)
		require.Zero(t, r.Seconds[1].Picks[0])
		for i := range 3 {
			require.Zero(t, r.Seconds[i].Picks[3])
		}
		if (c != sim.Pinned{}) {
			require.Greater(t, r.Seconds[2].Picks[0], 0)
			require.Greater(t, r.Seconds[3].Picks[3], 0)
		}
	}
}

// A warm-up begins slowly and ends at the full speed.
func TestWarmUp(t *testing.T) {
	s := behaves()
	s.Servers[0].Joins = second
	s.Servers[0].WarmUp = sim.WarmUp{For: second, From: .1}
	s.Load = .05
	got := spans(t, s, 0, second, 1500*time.Millisecond, 2*second)
	require.Greater(t, got[0].slowest, 40*time.Millisecond)
	require.Less(t, got[1].slowest, 25*time.Millisecond)
	require.Equal(t, 10500*time.Microsecond, got[2].fastest)
}

// What reports say, on the whole, is what there is.
func TestReports(t *testing.T) {
	enforce := &overload.Policy{MaxInFlight: 4, Waiting: 1 << 20, MaxWait: time.Minute}
	for _, c := range []struct {
		name    string
		server  sim.Server
		service float64 // ms, 0 for the time that requests take
	}{
		{"a guard that looks on", sim.Server{Sharing: true}, 0},
		{"a guard that enforces", sim.Server{Guard: enforce, Speed: .5}, 20},
		{"the model", sim.Server{Reports: sim.True, Speed: .5}, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n, inFlight, limit, cpu, service float64
			s := sim.Scenario{
				Seed: 1, Servers: sim.Servers(2, c.server), Load: .8, Callers: 3, Delay: -1, Measure: 40 * second,
				Chooser: watch{func(c *sim.Caller, server int, r outcome.Result) {
					l := c.Endpoint(server).Load()
					if !r.Reported || l.At != r.At {
						t.Fatal("an answer without a report")
					}
					n++
					inFlight += l.InFlight
					limit += l.Limit
					cpu += l.CPU
					service += ms(l.ServiceTime)
				}},
			}
			r := s.Run(t)
			// A request that ends leaves behind what one that comes finds: on
			// the average what there is at any time.
			assert.InEpsilon(t, r.InFlight, inFlight/n, .03)
			assert.InDelta(t, 4, limit/n, .001)
			if c.server.Reports != sim.True {
				assert.InDelta(t, .8, cpu/n, .03)
			}
			want := c.service
			if want == 0 {
				want = ms(r.Mean)
			}
			assert.InEpsilon(t, want, service/n, .05)
			assert.EqualValues(t, 1, r.Reported)
		})
	}
}

func TestNoReports(t *testing.T) {
	for _, c := range []struct {
		reports sim.Reports
		loss    float64
		want    float64
	}{
		{sim.Guarded, 0, 1}, {sim.Guarded, .3, .7}, {sim.Guarded, 1, 0},
		{sim.Silent, 0, 0}, {sim.Garbage, 0, 0}, {sim.Idle, 0, 1},
	} {
		s := sim.Scenario{
			Seed: 1, Servers: sim.Servers(2, sim.Server{Reports: c.reports}), Load: .9, Loss: c.loss,
			Chooser: watch{func(call *sim.Caller, server int, r outcome.Result) {
				l := call.Endpoint(server).Load()
				if c.want == 0 {
					require.Nil(t, l)
				} else if r.Reported && c.reports == sim.Idle {
					require.Zero(t, l.InFlight)
					require.Greater(t, l.Limit, 100.)
				}
			}},
		}
		assert.InDelta(t, c.want, s.Run(t).Reported, .02)
	}
}

// Stale reports say what was.
func TestStaleness(t *testing.T) {
	const stale = 700 * time.Millisecond
	var base, first time.Time
	late := 0
	s := sim.Scenario{
		Seed: 1, Servers: sim.Servers(1, sim.Server{Reports: sim.True}), Load: .1, Staleness: stale, Warm: -1, Measure: 3 * second,
		Changes: []sim.Change{at(second, func(f *sim.Fleet) { base = f.Now(); f.SetLoad(5) })},
	}
	s.Chooser = watch{func(c *sim.Caller, server int, r outcome.Result) {
		switch l := c.Endpoint(server).Load(); {
		case l == nil:
			late++
		case l.InFlight >= 10 && first.IsZero():
			first = r.At
		}
	}}
	s.Run(t)
	require.InDelta(t, stale+20*time.Millisecond, first.Sub(base), float64(30*time.Millisecond))
	require.Greater(t, late, 5, "there is no report from before the beginning")
}

// Some of the requests to a server fail, after the work that all take.
func TestErrors(t *testing.T) {
	s := sim.Scenario{Seed: 1, Servers: sim.Servers(2, sim.Server{}), Callers: 3, Load: .3, Measure: time.Minute, Chooser: sim.Balanced{Policy: balancer.Random{}}}
	sound := s.Run(t)
	s.Servers[0].Errors = .1
	faulty := s.Run(t)
	assert.InDelta(t, .05, faulty.ErrorShare(), .01)
	assert.Zero(t, sound.Failed)
	assert.Equal(t, sound.Picks, faulty.Picks, "by chance")
	assert.InDelta(t, float64(sound.Mean), float64(faulty.Mean), .02*float64(sound.Mean), "they fail late")
}
