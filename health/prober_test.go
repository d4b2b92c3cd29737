package health_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/health"
)

// status is an endpoint that answers what it is told to.
type status struct{ atomic.Int64 }

func (s *status) RoundTrip(*http.Request) (*http.Response, error) { return answer(int(s.Load())), nil }

// gated answers no probe before it is opened.
type gated struct {
	http.RoundTripper
	open chan struct{}
}

func (g gated) RoundTrip(r *http.Request) (*http.Response, error) {
	<-g.open
	return g.RoundTripper.RoundTrip(r)
}

func TestThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := health.NewProber(health.ProberOptions{Draw: half})
		defer p.Close()
		var changes atomic.Int64
		s, open := &status{}, make(chan struct{})
		s.Store(200)
		c := p.Watch(health.Subject{
			Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: health.Probe{Path: "/"}, RoundTripper: gated{s, open},
			Changed: func() { changes.Add(1) },
		})
		_, known, _, _ := c.Verdict()
		require.False(t, known, "nothing is known before the first result")
		close(open)
		at := time.Now()
		expect := func(healthy bool, cause string, since time.Time, changed int64) {
			t.Helper()
			synctest.Wait()
			h, known, text, when := c.Verdict()
			assert.True(t, known)
			assert.Equal(t, healthy, h)
			assert.Equal(t, cause, text)
			assert.Equal(t, since, when)
			assert.Equal(t, changed, changes.Load())
		}
		expect(true, "", at, 1) // at once, and it does not take two
		time.Sleep(5*time.Second + time.Millisecond)
		expect(true, "", at, 1)
		s.Store(503)
		for range 2 { // the second and the third result
			time.Sleep(10 * time.Second)
			expect(true, "", at, 1)
		}
		s.Store(200) // what failed before no longer counts
		time.Sleep(10 * time.Second)
		s.Store(503)
		time.Sleep(20 * time.Second)
		expect(true, "", at, 1)
		time.Sleep(10 * time.Second)
		down := time.Now().Add(-time.Millisecond)
		expect(false, "probe: status 503", down, 2)
		s.Store(500)
		time.Sleep(10 * time.Second)
		expect(false, "probe: status 500", down, 2) // the cause is the present one
		s.Store(200)
		time.Sleep(10 * time.Second)
		expect(false, "probe: status 500", down, 2)
		s.Store(500)
		time.Sleep(10 * time.Second)
		s.Store(204)
		time.Sleep(10 * time.Second)
		expect(false, "probe: status 500", down, 2)
		time.Sleep(10 * time.Second)
		expect(true, "", time.Now().Add(-time.Millisecond), 3)
		stats := c.Stats()
		assert.EqualValues(t, 13, stats.Probes)
		assert.EqualValues(t, 7, stats.Failures)
		assert.Empty(t, stats.LastError)
		assert.Equal(t, time.Now().Add(-time.Millisecond), stats.LastAt)
	})
}

func TestTheFirstFailureDecidesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := health.NewProber(health.ProberOptions{})
		defer p.Close()
		c := p.Watch(health.Subject{Endpoint: newEndpoint("a:80"), Dial: noDial})
		synctest.Wait()
		healthy, known, cause, since := c.Verdict()
		assert.False(t, healthy)
		assert.True(t, known)
		assert.Equal(t, "probe: dial failed", cause)
		assert.Equal(t, time.Now(), since)
		assert.Equal(t, "probe: dial failed", c.Stats().LastError)
	})
}

// Verdicts are those of a simple reading of the rules, whatever the results
// and the thresholds. The control reads rules without thresholds.
func TestVerdictsFollowTheRules(t *testing.T) {
	// run returns the verdicts after each result.
	run := func(results []bool, bad, good int) (verdicts []bool) {
		synctest.Test(t, func(t *testing.T) {
			p := health.NewProber(health.ProberOptions{Draw: half})
			defer p.Close()
			n := 0
			c := p.Watch(health.Subject{
				Name: "reviews", Endpoint: newEndpoint("a:80"),
				Probe: health.Probe{Path: "/", UnhealthyThreshold: bad, HealthyThreshold: good},
				RoundTripper: tripper(func(*http.Request) (*http.Response, error) {
					n++
					if results[n-1] {
						return answer(200), nil
					}
					return answer(500), nil
				}),
			})
			for i := range results {
				if i == 1 {
					time.Sleep(5*time.Second + time.Millisecond)
				} else if i > 1 {
					time.Sleep(10 * time.Second)
				}
				synctest.Wait()
				healthy, _, _, _ := c.Verdict()
				verdicts = append(verdicts, healthy)
			}
		})
		return verdicts
	}
	// read looks back from each result: a verdict turns when the last so many
	// results all speak against it.
	read := func(results []bool, bad, good int) (verdicts []bool) {
		for i, ok := range results {
			if i == 0 {
				verdicts = append(verdicts, ok)
				continue
			}
			was, against := verdicts[i-1], bad
			if !was {
				against = good
			}
			// The first result made the verdict and is not counted against it.
			turned := i >= against && !slices.Contains(results[i+1-against:i+1], was)
			verdicts = append(verdicts, was != turned)
		}
		return verdicts
	}
	differed := false
	rng := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		results := make([]bool, 40)
		for i := range results {
			results[i] = rng.IntN(3) > 0 == (i/10%2 == 0)
		}
		bad, good := 1+rng.IntN(4), 1+rng.IntN(4)
		got := run(results, bad, good)
		require.Equal(t, read(results, bad, good), got, "%d, %d: %v", bad, good, results)
		differed = differed || !slices.Equal(read(results, 1, 1), got)
	}
	require.True(t, differed, "thresholds that are ignored are noticed")
}

func TestPlansAreKeptWhateverAnAnswerTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := health.NewProber(health.ProberOptions{Draw: half})
		defer p.Close()
		begin, got := time.Now(), []time.Duration(nil)
		c := p.Watch(health.Subject{
			Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: health.Probe{Path: "/", Interval: time.Second},
			RoundTripper: tripper(func(*http.Request) (*http.Response, error) {
				got = append(got, time.Since(begin))
				time.Sleep(time.Duration(len(got)) * 100 * time.Millisecond)
				return answer(200), nil
			}),
		})
		time.Sleep(5 * time.Second)
		c.Stop()
		synctest.Wait()
		assert.Equal(t, []time.Duration{0, 600 * time.Millisecond, 1600 * time.Millisecond, 2600 * time.Millisecond,
			3600 * time.Millisecond, 4600 * time.Millisecond}, got)
	})
}

// crowd is a round tripper of many endpoints that notes when it is asked.
type crowd struct {
	mu         sync.Mutex
	at         []time.Duration
	begin      time.Time
	under, top int
	goroutines int
	takes      time.Duration
}

func (f *crowd) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.at = append(f.at, time.Since(f.begin))
	f.under++
	f.top = max(f.top, f.under)
	f.goroutines = max(f.goroutines, runtime.NumGoroutine())
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.under--
		f.mu.Unlock()
	}()
	select {
	case <-time.After(f.takes):
		return answer(200), nil
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}

// peak returns the most probes in a tenth of a second between two times.
func (f *crowd) peak(from, to time.Duration) int {
	slots, top := map[time.Duration]int{}, 0
	for _, at := range f.at {
		if from <= at && at < to {
			slots[at/(100*time.Millisecond)]++
			top = max(top, slots[at/(100*time.Millisecond)])
		}
	}
	return top
}

func (f *crowd) count(from, to time.Duration) (n int) {
	for _, at := range f.at {
		if from <= at && at < to {
			n++
		}
	}
	return n
}

func TestTenThousandEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		p := health.NewProber(health.ProberOptions{Draw: chance(3)})
		defer p.Close()
		f := &crowd{begin: time.Now(), takes: 20 * time.Millisecond}
		before := runtime.NumGoroutine()
		all := make([]*health.Checked, n)
		e := newEndpoint("a:80")
		for i := range all {
			all[i] = p.Watch(health.Subject{Name: "reviews", Endpoint: e, Probe: health.Probe{Path: "/"}, RoundTripper: f})
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		for i, c := range all {
			healthy, _, _, _ := c.Verdict()
			require.True(t, healthy, "endpoint %d: everybody's turn comes within an interval", i)
		}
		time.Sleep(50 * time.Second)
		synctest.Wait()
		assert.LessOrEqual(t, f.goroutines-before, 64+1)
		assert.LessOrEqual(t, f.top, 64)
		assert.Greater(t, f.top, 10, "there is something to bound")
		assert.LessOrEqual(t, f.peak(0, 20*time.Second), 300, "first probes and second ones, each about 100 in a tenth of a second")
		assert.InEpsilon(t, n, f.count(40*time.Second, 50*time.Second), 0.05, "each once in an interval")
		assert.LessOrEqual(t, f.peak(20*time.Second, time.Minute), 160, "100 in a tenth of a second are a fair share")
		for _, c := range all {
			c.Stop()
		}
		probed := len(f.at)
		time.Sleep(time.Minute)
		assert.Len(t, f.at, probed)
	})
}

// Probes of endpoints that joined together are spread over the interval. The
// control has a source without chance: they stay together.
func TestProbesAreSpread(t *testing.T) {
	peak := func(draw func() uint64) (top, total int) {
		synctest.Test(t, func(t *testing.T) {
			p := health.NewProber(health.ProberOptions{Draw: draw, MaxConcurrent: 1000})
			defer p.Close()
			f := &crowd{begin: time.Now(), takes: time.Millisecond}
			for i := range 1000 {
				p.Watch(health.Subject{Name: "reviews", Endpoint: newEndpoint(fmt.Sprint(i)), Probe: health.Probe{Path: "/"}, RoundTripper: f})
			}
			time.Sleep(100 * time.Second)
			synctest.Wait()
			top, total = f.peak(20*time.Second, 100*time.Second), f.count(20*time.Second, 100*time.Second)
		})
		return top, total
	}
	for seed := range uint64(3) {
		top, total := peak(chance(seed))
		assert.InEpsilon(t, 8000, total, 0.05)
		assert.LessOrEqual(t, top, 30, "10 in a tenth of a second are a fair share")
	}
	top, total := peak(half)
	assert.InEpsilon(t, 8000, total, 0.05)
	assert.Greater(t, top, 100, "probes that come together are noticed")
}

// Endpoints that hang hold up the others no further than by the places that
// they take. With one place for all they do.
func TestHangingEndpointsDoNotHoldUpOthers(t *testing.T) {
	latest := func(places int) (late time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			p := health.NewProber(health.ProberOptions{MaxConcurrent: places, Draw: half})
			defer p.Close()
			hang := tripper(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
			for range 9 {
				p.Watch(health.Subject{Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: health.Probe{Path: "/"}, RoundTripper: hang})
			}
			last := time.Duration(-1)
			begin := time.Now()
			p.Watch(health.Subject{
				Name: "reviews", Endpoint: newEndpoint("b:80"), Probe: health.Probe{Path: "/", Interval: time.Second},
				RoundTripper: tripper(func(*http.Request) (*http.Response, error) {
					now := time.Since(begin)
					if last >= 0 {
						late = max(late, now-last-time.Second)
					}
					last = now
					return answer(200), nil
				}),
			})
			time.Sleep(time.Minute)
		})
		return late
	}
	assert.LessOrEqual(t, latest(10), time.Millisecond)
	assert.Greater(t, latest(1), time.Second)
}

func TestStop(t *testing.T) {
	for name, when := range map[string]time.Duration{
		"before the first probe": 0,
		"during a probe":         500 * time.Millisecond,
		"between two":            2 * time.Second,
		"during a later one":     10*time.Second + 500*time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := health.NewProber(health.ProberOptions{Draw: half})
				defer p.Close()
				var changed, ended int
				fail := false
				c := p.Watch(health.Subject{
					Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: health.Probe{Path: "/", Interval: 18 * time.Second, UnhealthyThreshold: 1},
					RoundTripper: tripper(func(r *http.Request) (*http.Response, error) {
						defer func() { ended++ }()
						select {
						case <-time.After(900 * time.Millisecond):
							return answer(200), nil
						case <-r.Context().Done():
							fail = true
							return nil, r.Context().Err()
						}
					}),
					Changed: func() { changed++ },
				})
				if when > 0 {
					time.Sleep(when)
					synctest.Wait()
				}
				before, calls := c.Stats(), changed
				_, known, _, _ := c.Verdict()
				c.Stop()
				c.Stop()
				synctest.Wait()
				done := ended
				assert.Equal(t, when%(10*time.Second) == 500*time.Millisecond, fail, "a probe under way is cancelled")
				time.Sleep(time.Minute)
				assert.Equal(t, done, ended, "none follows")
				assert.Equal(t, calls, changed)
				assert.Equal(t, before, c.Stats(), "one that was cancelled is not counted")
				_, after, _, _ := c.Verdict()
				assert.Equal(t, known, after, "the verdict stays")
			})
		})
	}
}

func TestStopInChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := health.NewProber(health.ProberOptions{})
		defer p.Close()
		var c *health.Checked
		ready := make(chan struct{})
		c = p.Watch(health.Subject{
			Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: health.Probe{Path: "/"}, RoundTripper: &status{},
			Changed: func() {
				<-ready
				c.Stop()
			},
		})
		close(ready)
		time.Sleep(time.Hour)
		assert.EqualValues(t, 1, c.Stats().Probes)
	})
}

// Places that were stopped while they waited for their first probe do not
// slow down those who join later.
func TestThoseWhoLeftHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := health.NewProber(health.ProberOptions{Draw: half})
		defer p.Close()
		s := &status{}
		subject := health.Subject{Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: health.Probe{Path: "/"}, RoundTripper: s}
		var all []*health.Checked
		for range 5000 {
			all = append(all, p.Watch(subject))
		}
		for _, c := range all {
			c.Stop()
			c.Stop()
		}
		c := p.Watch(subject)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		_, known, _, _ := c.Verdict()
		assert.True(t, known)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := health.NewProber(health.ProberOptions{})
		var started, ended atomic.Int64
		rt := tripper(func(r *http.Request) (*http.Response, error) {
			started.Add(1)
			defer ended.Add(1)
			<-r.Context().Done()
			time.Sleep(time.Second) // it takes time to let go
			return nil, r.Context().Err()
		})
		var all []*health.Checked
		for range 100 {
			all = append(all, p.Watch(health.Subject{
				Name: "reviews", Endpoint: newEndpoint("a:80"), Probe: health.Probe{Path: "/"}, RoundTripper: rt,
				Changed: func() { t.Error("changed") },
			}))
		}
		time.Sleep(200 * time.Millisecond)
		p.Close()
		assert.Positive(t, started.Load())
		assert.Equal(t, started.Load(), ended.Load(), "Close waits")
		p.Close()
		for _, c := range all {
			_, known, _, _ := c.Verdict()
			assert.False(t, known)
			c.Stop()
		}
		late := p.Watch(health.Subject{Endpoint: newEndpoint("a:80"), Dial: noDial})
		time.Sleep(time.Minute)
		assert.Equal(t, "probe: the prober is closed", late.Stats().LastError)
		assert.Zero(t, late.Stats().Probes)
		late.Stop()

		health.NewProber(health.ProberOptions{}).Close()
	})
}

func TestAProberWithoutSubjectsIsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		health.NewProber(health.ProberOptions{}) // a goroutine would outlive the bubble and fail the test
	})
}

func TestFaultySubjectsAreLeftAlone(t *testing.T) {
	e := newEndpoint("a:80")
	for name, row := range map[string]struct {
		subject health.Subject
		want    string
	}{
		"probe":         {health.Subject{Endpoint: e, Probe: health.Probe{Interval: -1}}, "probe: interval: -1ns is less than 10ms"},
		"endpoint":      {health.Subject{}, "probe: endpoint: is nil"},
		"round tripper": {health.Subject{Endpoint: e, Name: "a", Probe: health.Probe{Path: "/"}}, "probe: roundTripper: is nil"},
		"name":          {health.Subject{Endpoint: e, Name: "a/b", Probe: health.Probe{Path: "/"}, RoundTripper: &status{}}, `probe: name: "a/b" is not a host`},
		"scheme":        {health.Subject{Endpoint: e, Name: "a", Probe: health.Probe{Path: "/"}, RoundTripper: &status{}, Scheme: "ftp"}, `probe: scheme: "ftp" is neither http nor https`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := health.NewProber(health.ProberOptions{})
				row.subject.Changed = func() { t.Error("changed") }
				c := p.Watch(row.subject)
				time.Sleep(time.Minute)
				_, known, _, _ := c.Verdict()
				assert.False(t, known)
				assert.Equal(t, health.ProbeStats{LastError: row.want}, c.Stats())
				c.Stop()
				p.Close()
			})
		})
	}
}

// Verdicts, counts, joining and leaving from many goroutines at once.
func TestProberIsSafeForConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := health.NewProber(health.ProberOptions{MaxConcurrent: 4})
		s := &status{}
		s.Store(200)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 50 {
					c := p.Watch(health.Subject{
						Name: "reviews", Endpoint: newEndpoint("a:80"), RoundTripper: s, Changed: func() {},
						Probe: health.Probe{Path: "/", Interval: 10 * time.Millisecond, UnhealthyThreshold: 1, HealthyThreshold: 1},
					})
					time.Sleep(time.Duration(i%7) * 10 * time.Millisecond)
					s.Store(int64(200 + i%4*100))
					c.Verdict()
					c.Stats()
					if (i+g)%3 > 0 {
						c.Stop()
					}
				}
			})
		}
		wg.Wait()
		p.Close()
	})
}
