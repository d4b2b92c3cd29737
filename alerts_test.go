package tulle_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/endpoint"
)

// incidents collects what a listener is told.
type incidents struct {
	mu  sync.Mutex
	all []breaker.Event
}

func (i *incidents) add(e breaker.Event) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = append(i.all, e)
}

func (i *incidents) told() []breaker.Event {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]breaker.Event(nil), i.all...)
}

// Without a listener the log has a line at WARN when a breaker opens.
func TestBreakerWithoutAListenerIsLogged(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3}
		var log syncBuffer
		m := w.mesh(c, tulle.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		all[0].status.Store(503)
		w.calls(m, 50)
		assert.Equal(w, 1, strings.Count(log.String(), `level=WARN msg="breaker open" service=reviews`), log.String())
	})
}

// A listener that hangs holds up neither calls nor Shutdown for longer than
// that is given.
func TestAListenerThatHangsHarmsNobody(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3, OpenFor: time.Second}
		hang := make(chan struct{})
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: func(breaker.Event) { <-hang }}))
		for range 3 {
			all[0].status.Store(503)
			w.calls(m, 10)
			time.Sleep(2 * time.Second)
			all[0].status.Store(200)
			require.Zero(w, w.calls(m, 10))
		}
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		require.ErrorIs(w, m.Shutdown(ctx), context.DeadlineExceeded)
		close(hang)
		require.NoError(w, m.Shutdown(w.Context()))
	})
}

// A listener that was slow for a while is told of beginnings and ends in
// turn, for every endpoint and service.
func TestASlowListenerIsToldInTurn(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Breaker = &breaker.Policy{Consecutive: 1, HalfOpenCalls: 1, OpenFor: time.Second}
		hang := make(chan struct{})
		var told incidents
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: func(e breaker.Event) { <-hang; told.add(e) }}))
		for range 200 {
			all[0].status.Store(503)
			w.calls(m, 1)
			time.Sleep(2 * time.Second)
			all[0].status.Store(200)
			w.calls(m, 1)
		}
		require.Equal(w, breaker.Closed, service(w, m, "reviews").Breakers[0].State)
		close(hang)
		synctest.Wait()
		events := told.told()
		for i, e := range events {
			require.Equal(w, i%2 == 0, e.Open, "event %d", i)
		}
		assert.False(w, events[len(events)-1].Open, "the breaker is closed, and the listener thinks it is open")
	})
}

// Each incident of an endpoint that was told of ends, also when what it was
// about goes.
func TestIncidentsEndWithWhatTheyAreAbout(t *testing.T) {
	for name, goes := range map[string]func(*world, *tulle.Mesh, *source, tulle.Config){
		"endpoint removed": func(w *world, m *tulle.Mesh, src *source, c tulle.Config) {
			src.set(endpoint.Info{Addr: "10.0.0.2:80"}, endpoint.Info{Addr: "10.0.0.3:80"})
		},
		"policy changed": func(w *world, m *tulle.Mesh, src *source, c tulle.Config) {
			c.Policies.EndpointBreaker = &breaker.Policy{Consecutive: 7}
			require.NoError(w, m.Apply(c))
		},
		"policy gone": func(w *world, m *tulle.Mesh, src *source, c tulle.Config) {
			c.Policies.EndpointBreaker = nil
			require.NoError(w, m.Apply(c))
		},
		"service gone": func(w *world, m *tulle.Mesh, src *source, c tulle.Config) {
			require.NoError(w, m.Apply(tulle.Config{}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				addrs, all := w.fleet(3)
				src := newSource()
				src.set(endpoint.Info{Addr: addrs[0]}, endpoint.Info{Addr: addrs[1]}, endpoint.Info{Addr: addrs[2]})
				c := fair(from(src))
				c.Policies.EndpointBreaker = &breaker.Policy{Consecutive: 3}
				var told incidents
				m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: told.add}))
				all[0].status.Store(500)
				w.calls(m, 20)
				require.Len(w, told.told(), 1)
				goes(w, m, src, c)
				time.Sleep(time.Minute)
				assert.Len(w, told.told(), 2, "the end")
			})
		})
	}
}

// So does each incident of a service.
func TestIncidentsOfServicesEndWithTheirPolicy(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3}
		var told incidents
		m := w.mesh(c, tulle.WithHooks(tulle.Hooks{BreakerChanged: told.add}))
		all[0].status.Store(500)
		w.calls(m, 5)
		require.Len(w, told.told(), 1)
		c.Policies.Breaker = nil
		require.NoError(w, m.Apply(c))
		synctest.Wait()
		assert.Len(w, told.told(), 2)
	})
}

// A listener that panics is told of what follows, and the log of the panic.
func TestAListenerThatPanicsHarmsNobody(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Breaker = &breaker.Policy{Consecutive: 3, HalfOpenCalls: 1}
		var told incidents
		var log syncBuffer
		m := w.mesh(c, tulle.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), tulle.WithHooks(tulle.Hooks{BreakerChanged: func(e breaker.Event) {
			if told.add(e); e.Open {
				panic("the listener")
			}
		}}))
		all[0].status.Store(503)
		w.calls(m, 5)
		all[0].status.Store(200)
		time.Sleep(time.Minute)
		require.Zero(w, w.calls(m, 1))
		require.Len(w, told.told(), 2)
		assert.Equal(w, 1, strings.Count(log.String(), `level=ERROR msg="the listener for breakers panicked" service=reviews panic="the listener"`), log.String())
		require.NoError(w, m.Shutdown(w.Context()))
	})
}

// While a listener hangs a bounded number of incidents waits. The others are
// dropped whole, and the log says how many.
func TestNoMoreIncidentsWaitThanTheBound(t *testing.T) {
	inBubble(t, func(w *world) {
		addrs, all := w.fleet(1)
		c := one(addrs...)
		c.Policies.Breaker = &breaker.Policy{Consecutive: 1, HalfOpenCalls: 1, OpenFor: time.Second}
		hang := make(chan struct{})
		var told incidents
		var log syncBuffer
		m := w.mesh(c, tulle.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), tulle.WithHooks(tulle.Hooks{BreakerChanged: func(e breaker.Event) {
			<-hang
			told.add(e)
		}}))
		rounds := func(n int) {
			for range n {
				all[0].status.Store(503)
				w.calls(m, 1)
				time.Sleep(2 * time.Second)
				all[0].status.Store(200)
				w.calls(m, 1)
			}
		}
		rounds(200)
		close(hang)
		synctest.Wait()
		// The first was being told of; of the others there is a beginning as long
		// as fewer than 256 events wait.
		require.Len(w, told.told(), 2*129)
		dropped := `level=WARN msg="incidents of breakers dropped, the listener is too slow" incidents=71`
		assert.Equal(w, 1, strings.Count(log.String(), "incidents of breakers dropped"))
		assert.Contains(w, log.String(), dropped)
		rounds(1)
		assert.Len(w, told.told(), 2*130, "it goes on")
		assert.Equal(w, 1, strings.Count(log.String(), "incidents of breakers dropped"))
	})
}
