package tulle_test

import (
	"bytes"
	"context"
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
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/outcome"
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

// What Outliers would leave out under Observe takes no place from the
// endpoint breakers that do.
func TestObservedOutliersTakeNoPlace(t *testing.T) {
	for name, o := range map[string]*health.Outliers{"without": nil, "observed": {Mode: outcome.Observe, Consecutive5xx: 3}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(3)
				c := fair(one(addrs...))
				c.Policies.Outliers = o
				// The first fails with 500 in turn: outliers see it, breakers do not.
				c.Policies.EndpointBreaker = &breaker.Policy{Consecutive: 10, FailureRate: -1, OpenFor: time.Hour}
				m := w.mesh(c)
				all[0].status.Store(500)
				w.calls(m, 3*4)
				all[0].status.Store(200)
				all[1].status.Store(500)
				w.calls(m, 3*12)
				assert.Equal(w, []endpoint.Hold{endpoint.BreakerOpen}, holds(service(w, m, "reviews").Endpoints[1]))
			})
		})
	}
}

// The last endpoint that can be used is not left out for its results.
func TestTheLastUsableIsNeverEjected(t *testing.T) {
	for name, p := range map[string]float64{"panic": 0, "no panic": -1} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(3)
				src := newSource()
				src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1], NotReady: true}, endpoint.Info{Addr: addrs[2], NotReady: true})
				c := fair(from(src))
				c.Services[0].Spread.Panic = p
				c.Policies.Outliers = &health.Outliers{}
				m := w.mesh(c)
				all[0].status.Store(500)
				w.calls(m, 6)
				assert.Empty(w, holds(service(w, m, "reviews").Endpoints[0]))
			})
		})
	}
}

// The cap holds also after the others have gone.
func TestTheCapHoldsWhenOthersGo(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(10)
		src := newSource()
		var infos []endpoint.Info
		for _, a := range addrs {
			infos = append(infos, endpoint.Info{Addr: a})
		}
		src.set(infos...)
		c := fair(from(src))
		c.Services[0].Spread.Panic = -1
		c.Policies.Outliers = &health.Outliers{BaseEjectionTime: time.Hour}
		m := w.mesh(c)
		for i := range 3 {
			all[i].status.Store(500)
		}
		w.calls(m, 100)
		for i := range 3 {
			all[i].status.Store(200)
		}
		src.set(infos[:3]...)
		synctest.Wait()
		n := 0
		for _, e := range service(w, m, "reviews").Endpoints {
			n += len(e.Holds)
		}
		assert.LessOrEqual(w, n, 1, "of three")
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		_, err := get(ctx, m, "http://reviews/")
		assert.NoError(w, err)
	})
}

// A policy that says what was the default anyway is an equal one.
func TestDefaultsSpeltOutRestartNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(3)
		c := fair(one(addrs...))
		c.Policies.Outliers = &health.Outliers{}
		c.Policies.EndpointBreaker = &breaker.Policy{Consecutive: 3}
		m := w.mesh(c)
		all[0].status.Store(500)
		w.calls(m, 30)
		require.NotEmpty(w, holds(service(w, m, "reviews").Endpoints[0]))
		o, b := health.Outliers{}.Effective(), breaker.Policy{Consecutive: 3}.Effective()
		c.Policies.Outliers, c.Policies.EndpointBreaker = &o, &b
		require.NoError(w, m.Apply(c))
		assert.NotEmpty(w, holds(service(w, m, "reviews").Endpoints[0]))
	})
}
