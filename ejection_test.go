package tulle_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// faulty is an endpoint that works or not, as the test says.
type faulty struct {
	status atomic.Int64
	served atomic.Int64
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	f.served.Add(1)
	w.WriteHeader(int(f.status.Load()))
}

// fleet serves n endpoints that work.
func (w *world) fleet(n int) (addrs []string, all []*faulty) {
	w.Helper()
	for i := range n {
		f := new(faulty)
		f.status.Store(200)
		addr := fmt.Sprintf("10.0.0.%d:80", i+1)
		w.net.Serve(w.T, addr, f)
		addrs, all = append(addrs, addr), append(all, f)
	}
	return addrs, all
}

// calls makes n calls, one after the other, and returns how many failed.
func (w *world) calls(m *tulle.Mesh, n int) (failed int) {
	w.Helper()
	for range n {
		a, err := get(w.Context(), m, "http://reviews/")
		if err != nil || a.status >= 500 {
			failed++
		}
		// What a result has set off comes before the next call.
		synctest.Wait()
	}
	return failed
}

func holds(e tulle.EndpointState) (all []endpoint.Hold) {
	for _, h := range e.Holds {
		all = append(all, h.Hold)
	}
	return all
}

func fair(c tulle.Config) tulle.Config {
	c.Services[0].Balancer = balancer.RoundRobin{}
	return c
}

// An endpoint that fails is left out after five failures in a row, tried by
// one call when its time is over, and comes back into a growing share.
// Without the policy a third of all calls goes on failing.
func TestOutlierIsEjectedAndComesBack(t *testing.T) {
	for _, with := range []bool{true, false} {
		t.Run(fmt.Sprintf("policy %v", with), func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(3)
				c := fair(one(addrs...))
				if with {
					c.Policies.Outliers = &health.Outliers{}
				}
				m := w.mesh(c)
				all[0].status.Store(500)
				failed := w.calls(m, 300)
				if !with {
					require.Equal(w, 100, failed)
					require.Empty(w, holds(service(w, m, "reviews").Endpoints[0]))
					return
				}
				require.Equal(w, 5, failed)
				e := service(w, m, "reviews").Endpoints[0]
				require.Equal(w, []endpoint.Hold{endpoint.Ejected}, holds(e))
				require.Equal(w, "5 consecutive 5xx", e.Holds[0].Reason)
				require.InDelta(w, 9*time.Second, e.Holds[0].Due.Sub(e.Holds[0].Since), float64(time.Second))
				require.EqualValues(w, 1, e.Outliers.Ejections)

				time.Sleep(10 * time.Second)
				require.Equal(w, 1, w.calls(m, 100), "one trial, and it fails")
				time.Sleep(15 * time.Second)
				require.Equal(w, 0, w.calls(m, 100), "the second time is twice as long")
				time.Sleep(5 * time.Second)
				all[0].status.Store(200)
				served := all[0].served.Load()
				require.Equal(w, 0, w.calls(m, 1))
				require.EqualValues(w, 1, all[0].served.Load()-served, "the trial")
				e = service(w, m, "reviews").Endpoints[0]
				require.Empty(w, e.Holds)
				require.EqualValues(w, 2, e.Outliers.Trials)

				served = all[0].served.Load()
				w.calls(m, 300)
				assert.Less(w, all[0].served.Load()-served, int64(40), "a tenth of its share at first")
				time.Sleep(10 * time.Second)
				served = all[0].served.Load()
				w.calls(m, 300)
				assert.EqualValues(w, 100, all[0].served.Load()-served, "all of it in the end")
			})
		})
	}
}

// However many endpoints fail, no more are left out than the cap allows, and
// those that come back make room for others.
func TestNoMoreAreEjectedThanTheCapAllows(t *testing.T) {
	for n, most := range map[int]int{1: 0, 2: 1, 3: 1, 9: 2, 10: 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(n)
				c := fair(one(addrs...))
				c.Policies.Outliers = &health.Outliers{}
				m := w.mesh(c)
				for _, f := range all {
					f.status.Store(503)
				}
				ejected := 0
				for range 20 {
					w.calls(m, 10*n)
					ejected = 0
					for _, e := range service(w, m, "reviews").Endpoints {
						ejected += len(e.Holds)
					}
					require.LessOrEqual(w, ejected, most)
					time.Sleep(100 * time.Millisecond)
				}
				assert.Equal(w, most, ejected)
			})
		})
	}
}

// Under Observe nothing is left out, and it is told what would have been.
func TestOutliersObserved(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		c := fair(one(addrs...))
		c.Policies.Outliers = &health.Outliers{Mode: outcome.Observe}
		m := w.mesh(c)
		all[0].status.Store(500)
		require.Equal(w, 100, w.calls(m, 300))
		e := service(w, m, "reviews").Endpoints[0]
		require.Empty(w, e.Holds)
		require.True(w, e.Outliers.Out)
		require.EqualValues(w, 95, e.Outliers.WouldAvoid)
		require.Zero(w, e.Outliers.WouldAvoidSucceeded)
	})
}

// A trial is made by a call that can be repeated elsewhere, if one comes.
func TestTrialsAreMadeByCallsThatCanBeRepeated(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		c := fair(one(addrs...))
		c.Policies = tulle.Policies{Outliers: &health.Outliers{}, Retry: &retry.Policy{}}
		m := w.mesh(c)
		all[0].status.Store(503)
		require.Zero(w, w.calls(m, 30), "what failed is repeated")
		due := func() time.Time { return service(w, m, "reviews").Endpoints[0].Holds[0].Due }
		time.Sleep(time.Until(due()))
		served := all[0].served.Load()
		post := func() { _, _ = do(w.Context(), m, "POST", "http://reviews/", ""); synctest.Wait() }
		for range 10 {
			post()
		}
		require.Equal(w, served, all[0].served.Load(), "no POST is risked")
		require.Zero(w, w.calls(m, 10))
		require.Equal(w, served+1, all[0].served.Load(), "a GET is, and is repeated")
		time.Sleep(time.Until(due().Add(time.Second)))
		post()
		require.Equal(w, served+2, all[0].served.Load(), "a POST is where no GET came in time")
	})
}

// A call that has nothing to pick, since all of its subset is left out, makes
// the trial as soon as that is due.
func TestACallThatWaitsMakesTheTrial(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		src := newSource()
		src.set(endpoint.Info{Addr: addrs[0], Labels: map[string]string{"v": "1"}}, endpoint.Info{Addr: addrs[1]})
		c := fair(from(src))
		c.Policies.Outliers = &health.Outliers{}
		c.Services[0].Spread.Panic = -1
		c.Services[0].Subsets = []tulle.Subset{{Name: "v1", Labels: map[string]string{"v": "1"}}}
		c.Routes = []tulle.Route{{Name: "v1", Match: prefix("/v1"), Split: to(tulle.Destination{Service: "reviews", Subset: "v1"})}}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 20)
		all[0].status.Store(200)
		due := service(w, m, "reviews").Endpoints[0].Holds[0].Due
		require.Equal(w, 200, w.get(m, "http://reviews/v1").status)
		assert.WithinDuration(w, due, time.Now(), 20*time.Millisecond)
	})
}

// An endpoint that says that it is leaving gets no more calls, is used where
// there is no other, and is tried again when it should be gone.
func TestLeavingIsHonouredAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, _ := w.fleet(2)
		var leaving atomic.Bool
		var served atomic.Int64
		w.net.Serve(w.T, "10.0.0.9:80", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			served.Add(1)
			if leaving.Load() {
				rw.Header().Set(endpoint.LoadReportHeader, string(endpoint.LoadReport{Leaving: true}.AppendText(nil)))
			}
		}))
		src := newSource()
		src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]}, endpoint.Info{Addr: "10.0.0.9:80"})
		m := w.mesh(fair(from(src)))
		w.calls(m, 30)
		require.EqualValues(w, 10, served.Load())
		leaving.Store(true)
		w.calls(m, 30)
		require.EqualValues(w, 11, served.Load(), "one more call, which learnt it")
		e := endpointAt(w, service(w, m, "reviews"), "10.0.0.9:80")
		require.Equal(w, []endpoint.Hold{endpoint.Leaving}, holds(e))

		src.set(endpoint.Info{Addr: "10.0.0.9:80"})
		synctest.Wait()
		require.Zero(w, w.calls(m, 10), "it serves while there is no other")
		src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]}, endpoint.Info{Addr: "10.0.0.9:80"})
		synctest.Wait()
		leaving.Store(false)
		time.Sleep(30 * time.Second)
		w.calls(m, 30)
		require.Empty(w, endpointAt(w, service(w, m, "reviews"), "10.0.0.9:80").Holds, "another process has its address")
	})
}

// What an external service says of itself is not believed.
func TestLeavingOfExternalServicesIsIgnored(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Header: http.Header{
			endpoint.LoadReportHeader: {string(endpoint.LoadReport{Leaving: true}.AppendText(nil))},
		}})
		c := one("10.0.0.1:80")
		c.Services[0].External = true
		m := w.mesh(c)
		w.calls(m, 3)
		require.Empty(w, service(w, m, "reviews").Endpoints[0].Holds)
	})
}

// A probe that fails leaves the endpoint out before calls find out.
func TestProbesLeaveOutWhatFailsThem(t *testing.T) {
	inBubble(t, func(w *world) {
		sick := new(atomic.Bool)
		var served atomic.Int64
		serve := func(addr string, sick *atomic.Bool) {
			w.net.Serve(w.T, addr, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path != "/healthz":
					if sick != nil {
						served.Add(1)
					}
				case sick != nil && sick.Load():
					rw.WriteHeader(503)
				}
			}))
		}
		serve("10.0.0.1:80", sick)
		serve("10.0.0.2:80", nil)
		serve("10.0.0.3:80", nil)
		c := fair(one("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"))
		c.Policies.Probe = &health.Probe{Path: "/healthz", Interval: time.Second}
		m := w.mesh(c)
		time.Sleep(2 * time.Second)
		w.calls(m, 30)
		require.EqualValues(w, 10, served.Load())
		require.Zero(w, service(w, m, "reviews").Endpoints[0].Started-10, "probes are not counted as calls")
		sick.Store(true)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		e := service(w, m, "reviews").Endpoints[0]
		require.Equal(w, []endpoint.Hold{endpoint.Unhealthy}, holds(e))
		require.Contains(w, e.Holds[0].Reason, "503")
		w.calls(m, 30)
		require.EqualValues(w, 10, served.Load())
		sick.Store(false)
		time.Sleep(3 * time.Second)
		w.calls(m, 30)
		require.EqualValues(w, 20, served.Load())

		c.Policies.Probe = &health.Probe{Path: "/healthz", Interval: time.Second, Mode: outcome.Observe}
		sick.Store(true)
		require.NoError(w, m.Apply(c))
		time.Sleep(5 * time.Second)
		w.calls(m, 30)
		require.EqualValues(w, 30, served.Load(), "observed only")
		require.NotZero(w, service(w, m, "reviews").Endpoints[0].Probe.Failures)
		c.Policies.Probe = nil
		require.NoError(w, m.Apply(c))
		require.Nil(w, service(w, m, "reviews").Endpoints[0].Probe)
	})
}

// A policy that goes takes its holds with it; an equal one keeps them.
func TestApplyKeepsOrLiftsHolds(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		c := fair(one(addrs...))
		c.Policies.Outliers = &health.Outliers{}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 30)
		c.Policies.Outliers = &health.Outliers{}
		c.Services[0].Connection.MaxIdle = 7 // new transports
		require.NoError(w, m.Apply(c))
		e := service(w, m, "reviews").Endpoints[0]
		require.Equal(w, []endpoint.Hold{endpoint.Ejected}, holds(e))
		require.EqualValues(w, 1, e.Outliers.Ejections)
		c.Policies.Outliers = nil
		require.NoError(w, m.Apply(c))
		require.Empty(w, service(w, m, "reviews").Endpoints[0].Holds)
	})
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// The log tells when an endpoint is left out and when it is back, once each.
func TestEjectionsAreLogged(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(2)
		c := fair(one(addrs...))
		c.Policies.Outliers = &health.Outliers{}
		var log syncBuffer
		m := w.mesh(c, tulle.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		all[0].status.Store(500)
		w.calls(m, 30)
		all[0].status.Store(200)
		time.Sleep(10 * time.Second)
		w.calls(m, 30)
		text := log.String()
		assert.Equal(w, 1, bytes.Count([]byte(text), []byte(`msg="endpoint left out" service=reviews endpoint=10.0.0.1:80 hold=ejected reason="5 consecutive 5xx"`)), text)
		assert.Equal(w, 1, bytes.Count([]byte(text), []byte(`msg="endpoint back" service=reviews endpoint=10.0.0.1:80`)), text)
	})
}
