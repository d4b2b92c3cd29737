//go:build !race

package health_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

// fleet is a service with its caller: calls at a steady rate, each to one of
// the endpoints that are not out, by chance, and the rules by which the root
// package keeps availability.
type fleet struct {
	t      testing.TB
	policy health.Outliers
	d      *health.Detector
	rec    []*health.Record
	draw   *rand.Rand
	now    time.Time
	every  time.Duration
	// fails returns how likely a call to endpoint i fails.
	fails func(i int) float64
	// class is how a failed call fails.
	class outcome.Class
	// uncapped ejects whoever is accused.
	uncapped bool

	held          int
	in            []int
	calls, failed int
	mostOut       int
	causes        []string // of accusations, with the endpoint
}

func newFleet(t testing.TB, seed uint64, n int, o health.Outliers) *fleet {
	f := &fleet{
		t: t, policy: o, draw: rand.New(rand.NewPCG(seed, uint64(n))), now: begin, every: 40 * time.Millisecond / time.Duration(n),
		class: broken, fails: func(int) float64 { return 0 },
	}
	f.d = health.NewDetector(o, f.draw.Uint64)
	for i := range n {
		e, _ := endpoint.New(endpoint.Info{Addr: fmt.Sprintf("10.0.0.%d:80", i+1)}, begin)
		f.rec = append(f.rec, f.d.Join(e, begin))
	}
	return f
}

func (f *fleet) out() (n int) {
	for _, r := range f.rec {
		if _, out := r.Out(); out {
			n++
		}
	}
	return n
}

// run makes calls for so long.
func (f *fleet) run(long time.Duration) {
	for end := f.now.Add(long); f.now.Before(end); {
		f.now = f.now.Add(f.every)
		f.call()
	}
}

func (f *fleet) call() {
	i, trial := f.pick()
	res := outcome.Result{Outcome: outcome.Outcome{Class: success}, At: f.now, Latency: time.Millisecond}
	if f.draw.Float64() < f.fails(i) {
		res.Class = f.class
		f.failed++
	}
	f.calls++
	if f.rec[i].Observe(res, trial) {
		f.settle()
	}
}

func (f *fleet) pick() (i int, trial bool) {
	if f.held == 0 {
		return f.draw.IntN(len(f.rec)), false
	}
	in := f.in[:0]
	for i, r := range f.rec {
		if r.Claim(f.now) {
			return i, true
		}
		if _, out := r.Out(); !out {
			in = append(in, i)
		}
	}
	if f.in = in; len(in) == 0 {
		f.t.Fatal("nobody is left")
	}
	return in[f.draw.IntN(len(in))], false
}

func (f *fleet) settle() {
	for i, r := range f.rec {
		cause, accused := r.Accused()
		switch {
		case !accused:
			continue
		case f.uncapped || f.out() < f.policy.Cap(len(f.rec)):
			r.Eject(f.now)
		default:
			r.Dismiss()
		}
		f.causes = append(f.causes, fmt.Sprintf("%d %s", i, cause))
		f.mostOut = max(f.mostOut, f.out())
	}
	f.held = f.out()
}

// accused returns which endpoints were, each once.
func (f *fleet) accused() []int {
	var is []int
	for _, c := range f.causes {
		var i int
		if _, err := fmt.Sscan(c, &i); err == nil && !slices.Contains(is, i) {
			is = append(is, i)
		}
	}
	slices.Sort(is)
	return is
}

// peersAlone has no rule but the comparison.
func peersAlone() health.Outliers {
	return health.Outliers{Consecutive5xx: -1, ConsecutiveGatewayFailure: -1, ConsecutiveLocalOriginFailure: -1}
}

// Whatever goes wrong, no more than the cap are out at once, and never the
// last; with the cap off the same calls put more out.
func TestProofNeverMoreThanTheCap(t *testing.T) {
	for _, n := range []int{1, 2, 5, 9, 20} {
		for seed := range uint64(long(3, 30)) {
			trouble := func(uncapped bool) *fleet {
				f := newFleet(t, seed, n, health.Outliers{MaxEjectionPercent: []int{0, 10, 50}[seed%3]})
				rates := make([]float64, n)
				f.fails = func(i int) float64 { return rates[i] }
				f.uncapped = uncapped
				for range 12 {
					for i := range rates {
						rates[i] = []float64{0, 0, .1, .6, 1}[f.draw.IntN(5)]
					}
					if uncapped && f.out() == n {
						break
					}
					if uncapped {
						// Stop before nobody is left to call.
						for range 200 {
							if f.out() < n-1 {
								f.now = f.now.Add(f.every)
								f.call()
							}
						}
						continue
					}
					f.run(8 * time.Second)
				}
				return f
			}
			f := trouble(false)
			require.LessOrEqual(t, f.mostOut, f.policy.Cap(n), "%d endpoints, seed %d", n, seed)
			if n > 1 {
				require.Positive(t, f.mostOut, "%d endpoints, seed %d: a cap that lets nobody go", n, seed)
			}
			if n >= 5 && seed%3 == 1 {
				require.Greater(t, trouble(true).mostOut, f.policy.Cap(n), "%d endpoints, seed %d", n, seed)
			}
		}
	}
}

// A single endpoint is accused by its runs, but never goes.
func TestSingleEndpointStays(t *testing.T) {
	f := newFleet(t, 1, 1, health.Outliers{})
	f.fails = func(int) float64 { return 1 }
	f.run(30 * time.Second)
	require.Zero(t, f.mostOut)
	s := f.rec[0].Stats()
	require.Zero(t, s.Ejections)
	require.Greater(t, s.Overflows, uint64(10))

	f = newFleet(t, 1, 2, health.Outliers{})
	f.fails = func(int) float64 { return 1 }
	f.run(30 * time.Second)
	require.Equal(t, 1, f.mostOut, "of two, one does")
}

// When all fail alike it is what they depend on, or the caller: the
// comparison accuses nobody, whenever and however it comes. The control: half
// of them failing so, it accuses that half, and only that.
func TestProofCommonTroubleEjectsNobody(t *testing.T) {
	for _, n := range []int{2, 3, 5, 20} {
		for seed := range uint64(long(1, 100)) {
			for _, rate := range []float64{.02, .1, .3, .5, 1} {
				for name, common := range map[string]bool{"all": true, "some": false} {
					if !common && rate < .1 {
						continue
					}
					f := newFleet(t, seed, n, peersAlone())
					bad := max(1, n/5)
					level := .002
					f.fails = func(i int) float64 {
						if common || i < bad {
							return level
						}
						return .002
					}
					f.run(20*time.Second + time.Duration(f.draw.IntN(1500))*time.Millisecond)
					level = rate
					f.run(60 * time.Second)
					level = .002
					f.run(20 * time.Second)
					want := []int(nil)
					if !common {
						for i := range bad {
							want = append(want, i)
						}
					}
					require.Equal(t, want, f.accused(), "%d endpoints, %s at %v, seed %d: %v", n, name, rate, seed, f.causes)
				}
			}
		}
	}
}

// The same with few calls: one a second for all of them together.
func TestCommonTroubleWithFewCalls(t *testing.T) {
	for seed := range uint64(20) {
		f := newFleet(t, seed, 2, peersAlone())
		f.every = time.Second
		level := .0
		f.fails = func(int) float64 { return level }
		f.run(5 * time.Minute)
		level = .7
		f.run(5 * time.Minute)
		require.Empty(t, f.causes, "seed %d", seed)
		level = 0
		f.run(10 * time.Minute)
		f.fails = func(i int) float64 { return .9 * float64(i) }
		f.run(5 * time.Minute)
		require.Equal(t, []int{1}, f.accused(), "seed %d", seed)
	}
}

// The accusation says what it rests on.
func TestCauseOfComparison(t *testing.T) {
	f := newFleet(t, 3, 3, peersAlone())
	f.fails = func(i int) float64 { return []float64{0, .4, 0}[i] }
	f.run(20 * time.Second)
	require.NotEmpty(t, f.causes)
	require.Regexp(t, `^1 fails \d\d % of \d+ calls, its peers 0 %$`, f.causes[0])
	require.Less(t, float64(f.failed)/float64(f.calls), .05)
}

// An endpoint whose responses break off, many at a time, has no run of
// failures that a success does not seem to end; its peers tell.
func TestBrokenBodiesUnderLoad(t *testing.T) {
	for _, breaks := range []bool{true, false} {
		f := newFleet(t, 1, 3, health.Outliers{})
		type open struct {
			i    int
			from time.Time
		}
		var bodies []open
		for range 5000 {
			f.now = f.now.Add(f.every)
			i, trial := f.pick()
			if f.rec[i].Observe(outcome.Result{Outcome: outcome.Outcome{Class: success}, At: f.now}, trial) {
				f.settle()
			}
			bodies = append(bodies, open{i, f.now})
			if len(bodies) > 30 {
				b := bodies[0]
				bodies = bodies[1:]
				late := outcome.Result{Outcome: outcome.Outcome{Class: reset}, At: f.now, Latency: f.now.Sub(b.from), Late: true, Was: success}
				if breaks && b.i == 2 && f.rec[2].Observe(late, false) {
					f.settle()
				}
			}
		}
		require.Equal(t, breaks, len(f.causes) > 0)
		if breaks {
			require.Regexp(t, `^2 fails ([6-9]\d|100) % of`, f.causes[0], "successes are taken back")
			require.Equal(t, []int{2}, f.accused())
		}
	}
}

// Rules that need peers need as many as they are told, with as many calls.
func TestWhoIsCompared(t *testing.T) {
	found := func(o health.Outliers, n int) bool {
		f := newFleet(t, 5, n, o)
		f.fails = func(i int) float64 { return map[bool]float64{true: .3}[i == 0] }
		f.run(time.Minute)
		return len(f.causes) > 0
	}
	o := peersAlone()
	require.False(t, found(o, 1))
	require.True(t, found(o, 2))
	o.SuccessRateMinimumHosts = 4
	require.False(t, found(o, 3))
	require.True(t, found(o, 4))
	o.SuccessRateMinimumHosts, o.Consecutive5xx = -1, 1000
	require.False(t, found(o, 4))
	o = peersAlone()
	o.SuccessRateRequestVolume = 1_000_000
	require.False(t, found(o, 4))
}

// Endpoints come and go without an effect on the others' opinion.
func TestMembersChange(t *testing.T) {
	f := newFleet(t, 5, 3, peersAlone())
	gone := f.rec[0]
	f.d.Leave(gone)
	f.d.Leave(gone)
	other := health.NewDetector(peersAlone(), nil)
	other.Leave(f.rec[1]) // a stranger's
	f.rec = f.rec[1:]
	f.fails = func(i int) float64 { return map[bool]float64{true: .5}[i == 1] }
	f.run(20 * time.Second)
	require.Equal(t, []int{1}, f.accused())
	for range 10 {
		gone.Observe(outcome.Result{Outcome: outcome.Outcome{Class: broken}, At: f.now}, false)
	}
	require.Equal(t, "10.0.0.1:80", gone.Endpoint().Addr())

	for len(f.rec) > 0 {
		f.d.Leave(f.rec[0])
		f.rec = f.rec[1:]
	}
	e, _ := endpoint.New(endpoint.Info{Addr: "10.0.0.9:80"}, f.now)
	r := f.d.Join(e, f.now)
	for range 4 {
		require.False(t, r.Observe(outcome.Result{Outcome: outcome.Outcome{Class: broken}, At: f.now}, false))
	}
}
