package health_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// one drives the record of one endpoint; each result takes a millisecond.
type one struct {
	*health.Record
	t   testing.TB
	now time.Time
}

func newOne(t testing.TB, o health.Outliers) *one {
	e, _ := endpoint.New(endpoint.Info{Addr: "10.0.0.1:80"}, begin)
	d := health.NewDetector(o, rand.New(rand.NewPCG(1, 2)).Uint64)
	return &one{d.Join(e, begin), t, begin}
}

func (o *one) after(d time.Duration) *one {
	o.now = o.now.Add(d)
	return o
}

// result returns that of an attempt that ends now and took a while.
func (o *one) result(c outcome.Class, took time.Duration) outcome.Result {
	return outcome.Result{Outcome: outcome.Outcome{Class: c}, At: o.now, Latency: took}
}

func (o *one) get(cs ...outcome.Class) (look bool) {
	for _, c := range cs {
		o.after(time.Millisecond)
		look = o.Observe(o.result(c, time.Millisecond/2), false)
	}
	return look
}

func (o *one) times(n int, c outcome.Class) (look bool) {
	for range n {
		look = o.get(c) || look
	}
	return look
}

// late is a success at the headers that turns out to be a failure.
func (o *one) late(c outcome.Class) (look bool) {
	o.after(time.Millisecond)
	first := o.Observe(o.result(outcome.Success, time.Millisecond/2), false)
	o.after(time.Millisecond)
	res := o.result(c, time.Millisecond*3/2)
	res.Late, res.Was = true, success
	return first || o.Observe(res, false)
}

func (o *one) accused(want string) {
	o.t.Helper()
	cause, yes := o.Accused()
	require.Equal(o.t, want, cause)
	require.Equal(o.t, want != "", yes)
}

// eject makes the endpoint fail until it is out and returns for how long.
func (o *one) eject() time.Duration {
	o.t.Helper()
	for i := 0; ; i++ {
		require.Less(o.t, i, 2000)
		if o.get(outcome.ServerError) {
			break
		}
	}
	return o.Eject(o.now).Sub(o.now)
}

// due waits until the trial is due and claims it.
func (o *one) due() *one {
	o.t.Helper()
	until, out := o.Out()
	require.True(o.t, out)
	o.now = until
	require.True(o.t, o.Claim(o.now))
	return o
}

func (o *one) trial(c outcome.Class) (look bool) {
	o.after(time.Millisecond)
	return o.Observe(o.result(c, time.Millisecond), true)
}

const (
	success = outcome.Success
	neutral = outcome.Neutral
	full    = outcome.Overload
	broken  = outcome.ServerError
	gateway = outcome.Gateway
	refused = outcome.Connect
	reset   = outcome.Reset
	timeout = outcome.Timeout
)

func TestRunsOfFailures(t *testing.T) {
	type classes = []outcome.Class
	for name, c := range map[string]struct {
		policy health.Outliers
		get    classes
		cause  string
	}{
		"five":                         {get: classes{broken, broken, broken, broken, broken}, cause: "5 consecutive 5xx"},
		"four":                         {get: classes{broken, broken, broken, broken}},
		"a success ends it":            {get: classes{broken, broken, broken, broken, success, broken}},
		"a cancel does not":            {get: classes{broken, broken, neutral, broken, broken, neutral, broken}, cause: "5 consecutive 5xx"},
		"cancels are none":             {get: classes{neutral, neutral, neutral, neutral, neutral, neutral}},
		"overload neither":             {get: classes{broken, broken, full, broken, broken, full, broken}, cause: "5 consecutive 5xx"},
		"overloads are none":           {get: classes{full, full, full, full, full, full, full}},
		"gateway":                      {get: classes{gateway, gateway, gateway, gateway, gateway}, cause: "5 consecutive gateway failures"},
		"gateway broken by a 500":      {get: classes{gateway, gateway, broken, gateway, gateway}, cause: "5 consecutive 5xx"},
		"no answer":                    {get: classes{refused, timeout, reset, refused, timeout}, cause: "5 consecutive connect failures, resets or time-outs"},
		"no answer, and some":          {get: classes{refused, timeout, gateway, refused, timeout}, cause: "5 consecutive gateway failures"},
		"no answer, and an overload":   {get: classes{refused, timeout, full, refused, timeout, reset}, cause: "5 consecutive gateway failures"},
		"own number":                   {policy: health.Outliers{Consecutive5xx: 2}, get: classes{refused, broken}, cause: "2 consecutive 5xx"},
		"off":                          {policy: health.Outliers{Consecutive5xx: -1}, get: classes{broken, broken, broken, broken, broken, broken}},
		"off, gateway":                 {policy: health.Outliers{Consecutive5xx: -1, ConsecutiveGatewayFailure: -1}, get: classes{gateway, gateway, gateway, gateway, gateway, gateway}},
		"off, gateway on":              {policy: health.Outliers{Consecutive5xx: -1, ConsecutiveGatewayFailure: 2}, get: classes{gateway, gateway}, cause: "2 consecutive gateway failures"},
		"off, no answer":               {policy: health.Outliers{Consecutive5xx: -1, ConsecutiveGatewayFailure: -1, ConsecutiveLocalOriginFailure: 3}, get: classes{refused, refused, reset}, cause: "3 consecutive connect failures, resets or time-outs"},
		"off, a gateway ends silence":  {policy: health.Outliers{Consecutive5xx: -1, ConsecutiveGatewayFailure: -1, ConsecutiveLocalOriginFailure: 3}, get: classes{refused, refused, gateway, reset}},
		"off, an overload ends it too": {policy: health.Outliers{Consecutive5xx: -1, ConsecutiveGatewayFailure: -1, ConsecutiveLocalOriginFailure: 3}, get: classes{refused, refused, full, reset}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOne(t, c.policy)
			looks := 0
			for _, class := range c.get {
				if o.get(class) {
					looks++
				}
			}
			o.accused(c.cause)
			require.Equal(t, c.cause != "", looks == 1, "%d looks", looks)
			_, out := o.Out()
			require.False(t, out, "nobody has ejected it")
		})
	}
}

// What began before the ejection, and ends after the return, belongs to
// another time.
func TestStaleResultsSayNothing(t *testing.T) {
	o := newOne(t, health.Outliers{})
	o.eject()
	old := o.now.Add(-time.Millisecond)
	stale := func(c outcome.Class, late, trial bool) bool {
		o.after(time.Millisecond)
		res := o.result(c, o.now.Sub(old))
		res.Late, res.Was = late, success
		return o.Observe(res, trial)
	}
	require.False(t, stale(success, false, true), "it does not acquit")
	o.due()
	require.False(t, stale(success, false, true))
	require.False(t, stale(broken, false, true), "nor prolong")
	until, out := o.Out()
	require.True(t, out)
	require.True(t, o.trial(success))
	for range 20 {
		require.False(t, stale(timeout, false, false), "nor eject again")
		require.False(t, stale(reset, true, false))
		require.False(t, stale(reset, true, true), "nor in the name of another trial")
	}
	require.False(t, o.times(4, broken))
	require.False(t, stale(success, false, false), "nor end a run")
	require.True(t, o.get(broken), "new ones do: exactly five, as the first time")
	require.True(t, o.Eject(o.now).After(until))

	t.Run("what the cap dismissed", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		require.True(t, o.times(5, broken))
		old := o.now.Add(-time.Millisecond)
		o.Dismiss()
		o.after(2 * time.Second)
		for range 10 {
			require.False(t, o.Observe(o.result(timeout, o.now.Sub(old)), false))
		}
	})
}

func TestTrials(t *testing.T) {
	t.Run("good", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		out := o.eject()
		require.False(t, o.Claim(o.now), "not due")
		require.False(t, o.Claim(o.now.Add(out-1)))
		o.due()
		require.False(t, o.Claim(o.now), "taken")
		require.True(t, o.trial(success))
		_, still := o.Out()
		require.False(t, still)
		require.False(t, o.Claim(o.now))
		require.Equal(t, health.OutlierStats{Ejections: 1, Trials: 1, TimeOut: out + time.Millisecond}, o.Stats())
	})
	t.Run("bad", func(t *testing.T) {
		for _, c := range []outcome.Class{broken, gateway, refused, reset, timeout} {
			o := newOne(t, health.Outliers{})
			o.eject()
			o.due()
			require.True(t, o.trial(c))
			until, out := o.Out()
			require.True(t, out)
			require.Greater(t, until.Sub(o.now), 16*time.Second-1)
			require.False(t, o.Claim(o.now))
			require.Equal(t, health.OutlierStats{Ejections: 1, Trials: 1, FailedTrials: 1}, o.Stats())
		}
	})
	t.Run("neutral", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.eject()
		before, _ := o.Out()
		for range 100 {
			o.due()
			require.False(t, o.trial(neutral))
			require.True(t, o.Claim(o.now), "the trial is the next one's")
			res := o.result(success, 0)
			res.Late, res.Was = true, success
			require.False(t, o.Observe(res, true))
			o.Unclaim(o.now)
		}
		after, out := o.Out()
		require.True(t, out, "a cancel does not acquit")
		require.Equal(t, before, after, "nor prolong")
	})
	t.Run("not made", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.eject()
		o.due().Unclaim(o.now)
		require.True(t, o.Claim(o.now))
	})
	t.Run("overload", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.eject()
		o.due()
		for range 5 {
			require.True(t, o.trial(full))
			until, out := o.Out()
			require.True(t, out, "no proof of health")
			require.InDelta(t, 9*time.Second, until.Sub(o.now), float64(time.Second+1), "and no failure")
			o.due()
		}
		require.Zero(t, o.Stats().FailedTrials)
	})
	t.Run("never heard of again", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.eject()
		o.due()
		require.False(t, o.Claim(o.now.Add(30*time.Second-1)))
		require.True(t, o.Claim(o.now.Add(30*time.Second)))
		require.False(t, o.Claim(o.now.Add(30*time.Second)))
	})
	t.Run("heard of when another has it", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.eject()
		o.due()
		first := o.now
		second := first.Add(31 * time.Second)
		require.True(t, o.Claim(second), "the first is taken for lost")
		o.now = second.Add(time.Second)
		require.False(t, o.Observe(o.result(neutral, o.now.Sub(first)), true))
		require.False(t, o.Claim(o.now), "the second is under way")
		o.Unclaim(first)
		require.False(t, o.Claim(o.now))
		o.Unclaim(second)
		require.True(t, o.Claim(o.now))
	})
	t.Run("calls that panic sends", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.eject()
		before, _ := o.Out()
		o.times(50, success)
		o.times(50, broken)
		after, out := o.Out()
		require.True(t, out)
		require.Equal(t, before, after)
		require.Zero(t, o.Stats().WouldAvoid)
	})
	t.Run("that breaks off", func(t *testing.T) {
		o := newOne(t, health.Outliers{})
		o.eject()
		o.due()
		require.True(t, o.trial(success))
		o.times(3, success)
		o.after(time.Millisecond)
		res := o.result(reset, 5*time.Millisecond)
		res.Late, res.Was = true, success
		require.True(t, o.Observe(res, true))
		o.accused("the response to its trial broke off")
	})
}

// Of a hundred goroutines that find the trial due, one has it.
func TestOneTrial(t *testing.T) {
	race := func(try func(*one) bool) (won int64) {
		o := newOne(t, health.Outliers{})
		o.eject()
		until, _ := o.Out()
		var wins atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		o.now = until
		for range 100 {
			wg.Go(func() {
				<-start
				if try(o) {
					wins.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		return wins.Load()
	}
	for range 50 {
		require.EqualValues(t, 1, race(func(o *one) bool { return o.Claim(o.now) }))
	}
	control := race(func(o *one) bool {
		until, out := o.Out()
		return out && !o.now.Before(until)
	})
	require.EqualValues(t, 100, control, "the same race without the claim")
}

// Ejections grow, up to a limit, and differ between processes.
func TestEjectionsGrow(t *testing.T) {
	lengths := func(o *one) []time.Duration {
		all := []time.Duration{o.eject()}
		for range 9 {
			o.due()
			require.True(t, o.trial(timeout))
			until, _ := o.Out()
			all = append(all, until.Sub(o.now))
		}
		return all
	}
	within := func(got []time.Duration) bool {
		for i, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300, 300, 300, 300} {
			if d := want * time.Second; got[i] > d || got[i] < d*4/5-1 {
				return false
			}
		}
		return true
	}
	got := lengths(newOne(t, health.Outliers{}))
	require.True(t, within(got), got)
	require.False(t, within(lengths(newOne(t, health.Outliers{MaxEjectionTime: 10 * time.Second}))), "growth off")
	for i := range 5 {
		require.Greater(t, got[i+1], got[i])
	}

	spread := func(draw func() uint64) int {
		different := map[time.Duration]bool{}
		for range 50 {
			e, _ := endpoint.New(endpoint.Info{Addr: "10.0.0.1:80"}, begin)
			o := &one{health.NewDetector(health.Outliers{}, draw).Join(e, begin), t, begin}
			different[o.eject()] = true
		}
		return len(different)
	}
	require.Greater(t, spread(rand.New(rand.NewPCG(3, 4)).Uint64), 45)
	require.Equal(t, 1, spread(func() uint64 { return 7 }), "chance off")
	require.Greater(t, spread(nil), 45, "chance of the runtime")
}

// The step goes up also where each return is a success and the failures come
// after it, whatever rule finds them, and down with clean time.
func TestEjectionsAreForgotten(t *testing.T) {
	o := newOne(t, health.Outliers{})
	back := func() {
		o.due()
		require.True(t, o.trial(success))
	}
	near := func(want, got time.Duration) {
		t.Helper()
		require.LessOrEqual(t, got, want)
		require.GreaterOrEqual(t, got, want*4/5-1)
	}
	for _, want := range []time.Duration{10, 20, 40, 80} {
		near(want*time.Second, o.eject())
		back()
	}
	o.after(79 * time.Second)
	near(160*time.Second, o.eject())
	back()
	o.after(161 * time.Second)
	near(160*time.Second, o.eject()) // one forgotten
	back()
	o.after((160 + 80 + 41) * time.Second)
	near(40*time.Second, o.eject()) // three forgotten
	back()
	o.after(time.Hour)
	near(10*time.Second, o.eject()) // all forgotten
}

func TestEjectTwiceIsOnce(t *testing.T) {
	o := newOne(t, health.Outliers{})
	o.eject()
	until, _ := o.Out()
	require.Equal(t, until, o.Eject(o.now.Add(time.Second)))
	require.EqualValues(t, 1, o.Stats().Ejections)
	o.Dismiss()
	_, out := o.Out()
	require.True(t, out, "nothing left to dismiss")
	require.Zero(t, o.Stats().Overflows)
}

// An endpoint that stays in because of the cap is accused anew, but not with
// every failure.
func TestDismiss(t *testing.T) {
	o := newOne(t, health.Outliers{})
	require.True(t, o.times(5, broken))
	require.False(t, o.times(100, broken), "accused already")
	o.Dismiss()
	o.accused("")
	require.False(t, o.times(800, broken))
	require.True(t, o.times(200, broken))
	require.EqualValues(t, 1, o.Stats().Overflows)
	require.Zero(t, o.Stats().Ejections)
}

func TestAmnesty(t *testing.T) {
	o := newOne(t, health.Outliers{})
	o.Amnesty() // in service there is nothing to forgive
	require.Zero(t, o.Stats().Amnesties)
	o.eject()
	until, _ := o.Out()
	o.after(time.Second)
	o.Amnesty()
	_, out := o.Out()
	require.False(t, out)
	require.EqualValues(t, 1, o.Stats().Amnesties)
	require.False(t, o.times(4, broken), "evidence starts anew")
	require.True(t, o.get(broken))
	o.Amnesty()
	o.accused("5 consecutive 5xx")
	require.Greater(t, o.Eject(o.now).Sub(o.now), 16*time.Second-1, "and nothing is forgotten")
	require.True(t, o.now.Before(until))
}

// Under Observe the endpoint goes through the same, and what its ejection
// would have spared the callers is counted.
func TestObserve(t *testing.T) {
	o := newOne(t, health.Outliers{Mode: outcome.Observe})
	o.eject()
	o.times(7, success)
	o.times(3, broken)
	o.times(2, neutral)
	o.late(reset)
	until, out := o.Out()
	require.True(t, out)
	require.Equal(t, health.OutlierStats{Ejections: 1, WouldAvoid: 13, WouldAvoidSucceeded: 7}, o.Stats())

	o.now = until
	require.False(t, o.Observe(o.result(success, time.Second), false), "it began before the trial was due")
	require.False(t, o.get(neutral))
	require.True(t, o.get(broken), "the first that says something is the trial")
	longer, _ := o.Out()
	require.True(t, longer.After(until))
	o.now = longer
	require.True(t, o.get(success))
	_, out = o.Out()
	require.False(t, out)
	s := o.Stats()
	require.EqualValues(t, 2, s.Trials)
	require.EqualValues(t, 1, s.FailedTrials)
	require.EqualValues(t, 15, s.WouldAvoid)
	require.EqualValues(t, 8, s.WouldAvoidSucceeded)
}

// Cancels never say anything, whenever they come. The control draws the same
// with time-outs in their place.
func TestNeutralNeverEjectsNorAcquits(t *testing.T) {
	run := func(seed uint64, quiet outcome.Class) (ejections, returns int) {
		draw := rand.New(rand.NewPCG(seed, 0))
		o := newOne(t, health.Outliers{})
		for range 3000 {
			o.after(time.Duration(draw.IntN(20)) * time.Millisecond)
			_, out := o.Out()
			claimed := out && draw.IntN(2) == 0 && o.Claim(o.now)
			class := quiet
			if !out && draw.IntN(8) == 0 {
				class = success
			}
			late := draw.IntN(10) == 0
			res := o.result(class, time.Duration(draw.IntN(int(time.Second))))
			res.Late, res.Was = late, success
			o.Observe(res, claimed)
			if _, yes := o.Accused(); yes {
				ejections++
				o.Eject(o.now)
			}
			if _, still := o.Out(); out && !still {
				returns++
			}
			if draw.IntN(500) == 0 && !out {
				o.Eject(o.now) // by another's will, so that there are trials
			}
		}
		return ejections, returns
	}
	var controls int
	for seed := range uint64(20) {
		ejections, returns := run(seed, neutral)
		require.Zero(t, ejections)
		require.Zero(t, returns)
		e, _ := run(seed, timeout)
		controls += e
	}
	require.Positive(t, controls)
}

// Whatever many goroutines do at once, a record is in one state, and every
// accusation, trial and return is told to exactly one of them.
func TestRecordIsSafeForConcurrentUse(t *testing.T) {
	d := health.NewDetector(health.Outliers{BaseEjectionTime: time.Millisecond}, nil)
	records := make([]*health.Record, 4)
	for i := range records {
		e, _ := endpoint.New(endpoint.Info{Addr: fmt.Sprintf("10.0.0.%d:80", i+1)}, begin)
		records[i] = d.Join(e, begin)
	}
	var clock atomic.Int64
	var accusations, settled, returns atomic.Int64
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			draw := rand.New(rand.NewPCG(uint64(g), 9))
			for range 5000 {
				now := begin.Add(time.Duration(clock.Add(int64(time.Millisecond))))
				r := records[draw.IntN(len(records))]
				trial := r.Claim(now)
				res := outcome.Result{At: now, Latency: time.Duration(draw.IntN(2_000_000)), Late: draw.IntN(9) == 0, Was: success}
				res.Class = outcome.Class(draw.IntN(8))
				if draw.IntN(3) > 0 {
					res.Class = broken
				}
				if r.Observe(res, trial) {
					if _, yes := r.Accused(); yes && !trial {
						accusations.Add(1)
					} else {
						returns.Add(1)
					}
				} else if trial {
					r.Unclaim(now)
				}
				if _, yes := r.Accused(); yes && draw.IntN(2) == 0 {
					if draw.IntN(4) == 0 {
						r.Dismiss()
					} else {
						r.Eject(now)
					}
					settled.Add(1)
				}
				_ = r.Stats()
			}
		})
	}
	wg.Wait()
	var s health.OutlierStats
	for _, r := range records {
		one := r.Stats()
		s.Ejections, s.Overflows, s.Trials = s.Ejections+one.Ejections, s.Overflows+one.Overflows, s.Trials+one.Trials
	}
	require.Positive(t, s.Ejections)
	require.Positive(t, s.Trials)
	require.GreaterOrEqual(t, uint64(settled.Load()), s.Ejections+s.Overflows)
	require.Positive(t, accusations.Load())
	require.Positive(t, returns.Load())
}
