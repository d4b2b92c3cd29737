package tulle

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
)

// A target is on trial while something holds it that a call can lift, and
// nothing that a call cannot.
func TestOnTrial(t *testing.T) {
	for h, want := range map[endpoint.Hold]bool{
		endpoint.NotReady: false, endpoint.Unhealthy: false, endpoint.Removed: false,
		endpoint.Ejected: true, endpoint.BreakerOpen: true, endpoint.Leaving: true,
	} {
		e, control := endpoint.New(endpoint.Info{Addr: "10.0.0.1:80"}, time.Now())
		require.False(t, onTrial(e.Availability()))
		control.Hold(h, "x", time.Now())
		assert.Equal(t, want, onTrial(e.Availability()), h)
		control.Hold(endpoint.Ejected, "x", time.Now())
		assert.Equal(t, want, onTrial(e.Availability()), "%v and ejected", h)
	}
}

// Of many that come when an endpoint that was leaving is due, one makes the
// trial, and for a while nobody else.
func TestOneOfManyTriesWhatIsLeaving(t *testing.T) {
	for range 2000 {
		l, now := new(leaving), time.Now()
		require.False(t, l.claim(now), "it stays")
		l.announce(now)
		require.False(t, l.claim(now.Add(leaveFor-1)))
		var won atomic.Int64
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				<-begin
				if l.claim(now.Add(leaveFor)) {
					won.Add(1)
				}
			})
		}
		close(begin)
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
		require.False(t, l.claim(now.Add(2*leaveFor-1)))
		require.True(t, l.claim(now.Add(2*leaveFor)))
	}
}

// within makes a mesh of one service, "reviews", in a bubble, whose endpoints
// answer at once, and hands over the service.
func within(t *testing.T, p Policies, addrs []string, hooks Hooks, test func(*testing.T, *Mesh, *service)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Config{
			Services: []Service{{Name: "reviews", Resolver: discovery.Addrs(addrs...), Balancer: balancer.RoundRobin{}}}, Policies: p,
		}, WithHooks(hooks), WithAttemptMiddleware(func(http.RoundTripper) http.RoundTripper { return prompt{} }))
		require.NoError(t, err)
		defer func() { assert.NoError(t, m.Shutdown(context.Background())) }()
		require.NoError(t, m.Ready(t.Context()))
		test(t, m, m.plan.Load().services["reviews"])
	})
}

// open makes the endpoint's own breaker see failures until it opens.
func (f *feeds) open(t *testing.T) {
	t.Helper()
	for range 100 {
		permit, err := f.breaker.Allow(time.Now())
		require.NoError(t, err)
		permit.Done(outcome.Result{Outcome: outcome.Outcome{Class: outcome.Gateway}, At: time.Now()})
		if f.breaker.State() == breaker.Open {
			return
		}
	}
	require.Fail(t, "the breaker is closed")
}

// Who would try several holds at once and finds one taken gives the others
// back, as does who has them all and makes no call.
func TestAClaimIsOfAllHoldsOrNone(t *testing.T) {
	p := Policies{
		Outliers:        &health.Outliers{},
		EndpointBreaker: &breaker.Policy{Consecutive: 1, HalfOpenCalls: 1, HalfOpenFor: time.Hour, OpenFor: time.Second},
	}
	within(t, p, []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}, Hooks{}, func(t *testing.T, _ *Mesh, s *service) {
		target := s.view.Load().members[0]
		f := target.feeds.Load()
		f.record.Eject(time.Now())
		target.control.Hold(endpoint.Ejected, "x", time.Now())
		f.open(t)
		synctest.Wait()
		require.Equal(t, []endpoint.Hold{endpoint.Ejected, endpoint.BreakerOpen}, target.Availability().Holds())
		time.Sleep(time.Minute)

		now := time.Now()
		require.True(t, f.record.Claim(now))
		_, _, _, ok := target.claim(now)
		require.False(t, ok, "another has the trial")
		require.True(t, f.breaker.Due(now), "and the breaker has its place back")
		f.record.Unclaim(now)

		f.leaving.announce(now)
		target.control.Hold(endpoint.Leaving, "x", now)
		_, _, _, ok = target.claim(now)
		require.False(t, ok, "not due")
		require.True(t, f.breaker.Due(now))
		require.True(t, f.record.Claim(now))
		f.record.Unclaim(now)

		time.Sleep(leaveFor)
		now = time.Now()
		_, of, own, ok := target.claim(now)
		require.True(t, ok)
		require.Equal(t, trialOfEjection|trialOfBreaker|trialOfLeaving, of)
		require.False(t, f.breaker.Due(now))
		f.unclaim(of, own, now)
		require.True(t, f.breaker.Due(now))
		require.True(t, f.record.Claim(now))
	})
}

// An attempt whose endpoint's breaker has opened since the generation was made
// picks again. Where there is no other it goes on: an endpoint's breaker
// refuses nobody.
func TestAnotherIsPickedWhenTheBreakerHasJustOpened(t *testing.T) {
	served := map[string]int{}
	count := Hooks{AttemptDone: func(d AttemptDone) { served[d.Endpoint]++ }}
	p := Policies{EndpointBreaker: &breaker.Policy{Consecutive: 1, OpenFor: time.Hour}}
	within(t, p, []string{"10.0.0.1:80", "10.0.0.2:80"}, count, func(t *testing.T, m *Mesh, s *service) {
		// Nobody makes holds of what these breakers do.
		for _, target := range s.view.Load().members {
			f := *target.feeds.Load()
			var err error
			f.breaker, err = newCircuit(*p.EndpointBreaker, s.name, target.Addr(), nil, func(breaker.Event) {}, func() {})
			require.NoError(t, err)
			target.feeds.Store(&f)
		}
		call := func(n int) {
			t.Helper()
			for range n {
				resp, err := m.Client().Get("http://reviews/")
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
			}
		}
		call(10)
		require.Equal(t, map[string]int{"10.0.0.1:80": 5, "10.0.0.2:80": 5}, served)
		s.view.Load().members[0].feeds.Load().open(t)
		call(10)
		require.Equal(t, map[string]int{"10.0.0.1:80": 5, "10.0.0.2:80": 15}, served)
		s.view.Load().members[1].feeds.Load().open(t)
		call(10)
		require.Equal(t, 30, served["10.0.0.1:80"]+served["10.0.0.2:80"])
	})
}

// After a build the service rests four times as long as that took, unless it
// took nearly nothing or the service ends.
func TestBuildsAreFollowedByRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := &service{ctx: ctx}
		for took, want := range map[time.Duration]time.Duration{
			time.Millisecond - 1: 0, time.Millisecond: 4 * time.Millisecond, time.Second: 4 * time.Second,
		} {
			begin := time.Now()
			s.rest(took)
			assert.Equal(t, want, time.Since(begin), took)
		}
		begin := time.Now()
		time.AfterFunc(time.Second, stop)
		s.rest(time.Hour)
		assert.Equal(t, time.Second, time.Since(begin))
	})
}

// What outlier detection knows of an endpoint goes with the endpoint.
func TestRecordsGoWithTheirEndpoint(t *testing.T) {
	within(t, Policies{Outliers: &health.Outliers{}}, []string{"10.0.0.1:80", "10.0.0.2:80"}, Hooks{}, func(t *testing.T, _ *Mesh, s *service) {
		var known []weak.Pointer[health.Record]
		for _, target := range s.view.Load().members {
			known = append(known, weak.Make(target.feeds.Load().record))
		}
		s.mu.Lock()
		s.membersLocked([]endpoint.Info{{Addr: "10.0.0.1:80"}}, time.Now())
		v := *s.view.Load()
		s.buildLocked(&v, true)
		s.mu.Unlock()
		time.Sleep(2 * linger)
		runtime.GC()
		require.NotNil(t, known[0].Value())
		require.Nil(t, known[1].Value())
	})
}

// What a failed probe would have spared is counted once, as it ended.
func TestSparedAttempts(t *testing.T) {
	class := func(c outcome.Class) outcome.Result { return outcome.Result{Outcome: outcome.Outcome{Class: c}} }
	late := func(was, c outcome.Class) outcome.Result {
		r := class(c)
		r.Late, r.Was = true, was
		return r
	}
	for name, row := range map[string]struct {
		results          []outcome.Result
		would, succeeded uint64
	}{
		"neutral":              {[]outcome.Result{class(outcome.Neutral)}, 0, 0},
		"success":              {[]outcome.Result{class(outcome.Success)}, 1, 1},
		"overload":             {[]outcome.Result{class(outcome.Overload)}, 1, 1},
		"failure":              {[]outcome.Result{class(outcome.Reset)}, 1, 0},
		"success that broke":   {[]outcome.Result{class(outcome.Success), class(outcome.Success), late(outcome.Success, outcome.Reset)}, 2, 1},
		"success that changed": {[]outcome.Result{class(outcome.Success), late(outcome.Success, outcome.Overload)}, 1, 1},
		"neutral that broke":   {[]outcome.Result{class(outcome.Success), class(outcome.Neutral), late(outcome.Neutral, outcome.Reset)}, 1, 1},
		"began before":         {[]outcome.Result{late(outcome.Success, outcome.Reset)}, 0, 0},
	} {
		n := new(notes)
		for _, r := range row.results {
			n.spare(r)
		}
		assert.Equal(t, row.would, n.would.Load(), name)
		assert.Equal(t, row.succeeded, n.succeeded.Load(), name)
	}
}
