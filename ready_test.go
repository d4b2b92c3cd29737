package tulle_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
)

func TestReadyNamesWhatIsMissing(t *testing.T) {
	inBubble(t, func(w *world) {
		src := newSource()
		c := from(src)
		c.Services = append(c.Services, tulle.Service{Name: "there", Resolver: at("10.0.0.9:80")})
		m := w.mesh(c)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		err := m.Ready(ctx)
		require.ErrorIs(w, err, context.DeadlineExceeded)
		assert.Contains(w, err.Error(), "reviews")
		assert.NotContains(w, err.Error(), "there")
		src.fail(errors.New("no"))
		synctest.Wait()
		require.Error(w, m.Ready(ctx), "a failure is no answer")
		src.set()
		assert.NoError(w, m.Ready(w.Context()), "an empty set is one, though no endpoint is there")
	})
}

// A service that is removed is no longer waited for.
func TestReadyDoesNotWaitForARemovedService(t *testing.T) {
	inBubble(t, func(w *world) {
		m := w.mesh(from(newSource()))
		time.AfterFunc(time.Second, func() { assert.NoError(w, m.Apply(tulle.Config{})) })
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		assert.NoError(w, m.Ready(ctx))
	})
}

// What another resolver said before does not make a service ready.
func TestReadyIsOfThePresentResolver(t *testing.T) {
	inBubble(t, func(w *world) {
		c := one("10.0.0.1:80")
		m := w.mesh(c)
		require.NoError(w, m.Ready(w.Context()))
		src := newSource()
		c.Services[0].Resolver = src
		require.NoError(w, m.Apply(c))
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(w, m.Ready(ctx), context.DeadlineExceeded)
		assert.False(w, service(w, m, "reviews").Discovery.Answered)
		src.set()
		assert.NoError(w, m.Ready(w.Context()))
		assert.True(w, service(w, m, "reviews").Discovery.Answered)
	})
}
