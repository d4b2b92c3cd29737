package tulle_test

import (
	"context"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

func TestShutdownWaitsForCallsAndRefusesNewOnes(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "to the end", BodyDelay: time.Minute})
		w.serve("elsewhere:80", tulletest.Step{Body: "untouched"})
		m := w.mesh(one("10.0.0.1:80"))
		resp, err := m.Client().Get("http://reviews/")
		require.NoError(w, err)
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			assert.NoError(w, m.Shutdown(w.Context()))
			assert.Equal(w, time.Minute, time.Since(begin))
		})
		synctest.Wait()
		_, err = do(w.Context(), m, "POST", "http://reviews/", "x")
		assert.Equal(w, outcome.ShuttingDown, asError(w, err).Reason)
		assert.Equal(w, "untouched", w.get(m, "http://elsewhere/").body, "others pass as ever")
		a, err := read(resp, nil)
		require.NoError(w, err)
		assert.Equal(w, "to the end", a.body)
		wg.Wait()
		assert.NoError(w, m.Shutdown(w.Context()), "once more is nothing")
		assert.Error(w, m.Apply(tulle.Config{}))
		assert.True(w, m.State().ShuttingDown)
	})
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "late", BodyDelay: time.Hour})
		m := w.mesh(one("10.0.0.1:80"))
		resp, err := m.Client().Get("http://reviews/")
		require.NoError(w, err)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(w, m.Shutdown(ctx), context.DeadlineExceeded)
		a, err := read(resp, nil)
		require.NoError(w, err, "the call goes on")
		assert.Equal(w, "late", a.body)
	})
}

// stubborn is a resolver that does not heed its context.
type stubborn struct{ release chan struct{} }

func (s *stubborn) Watch(context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(func([]endpoint.Info, error) bool) { <-s.release }
}

// Shutdown waits for resolvers to end, but no longer than its context.
func TestShutdownDoesNotWaitForAStubbornResolver(t *testing.T) {
	inBubble(t, func(w *world) {
		r := &stubborn{make(chan struct{})}
		m := w.mesh(from(r))
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		assert.ErrorIs(w, m.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(w, time.Second, time.Since(begin))
		time.AfterFunc(time.Minute, func() { close(r.release) })
		assert.NoError(w, m.Shutdown(w.Context()), "once more, with time enough")
		assert.Equal(w, time.Second+time.Minute, time.Since(begin))
	})
}

// While one Shutdown waits, a second keeps to its own context, and Apply is
// refused at once.
func TestShutdownHoldsUpNobodyElse(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Hour})
		c := one("10.0.0.1:80")
		m := w.mesh(c)
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(w.Context(), m, "http://reviews/"); assert.NoError(w, err) })
		synctest.Wait()
		begin := time.Now()
		for range 2 {
			wg.Go(func() {
				assert.NoError(w, m.Shutdown(w.Context()))
				assert.Equal(w, time.Hour, time.Since(begin), "those with time enough see the last call end")
			})
		}
		synctest.Wait()
		assert.Equal(w, outcome.ShuttingDown, asError(w, m.Apply(c)).Reason)
		assert.Zero(w, time.Since(begin))
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(w, m.Shutdown(ctx), context.DeadlineExceeded)
		assert.Equal(w, time.Second, time.Since(begin))
		wg.Wait()
	})
}

// Calls to services that the configuration no longer has are waited for too,
// however many configurations ago that was.
func TestShutdownWaitsForCallsToRemovedServices(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Minute})
		m := w.mesh(one("10.0.0.1:80"))
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(w.Context(), m, "http://reviews/"); assert.NoError(w, err) })
		synctest.Wait()
		require.NoError(w, m.Apply(tulle.Config{}))
		require.NoError(w, m.Apply(tulle.Config{}))
		begin := time.Now()
		assert.NoError(w, m.Shutdown(w.Context()))
		assert.Equal(w, time.Minute, time.Since(begin))
		wg.Wait()
	})
}

// Calls that wait for an endpoint are not waited for: none will come.
func TestShutdownEndsTheWaitForEndpoints(t *testing.T) {
	inBubble(t, func(w *world) {
		m := w.mesh(from(newSource()))
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := get(w.Context(), m, "http://reviews/")
			assert.Equal(w, outcome.NoEndpoint, asError(w, err).Reason)
		})
		synctest.Wait()
		assert.NoError(w, m.Shutdown(w.Context()))
		wg.Wait()
	})
}
