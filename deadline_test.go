package tulle_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// Tests in this file are about time that runs out, and whose fault that is.

func TestCallerSeesItsOwnContext(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Fault: tulletest.Hang})
		c := one("10.0.0.1:80")
		c.Policies = tulle.Policies{Timeout: time.Hour, Retry: &retry.Policy{PerTry: time.Minute}}
		m := w.mesh(c)
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		_, err := get(ctx, m, "http://reviews/")
		assert.ErrorIs(w, err, context.DeadlineExceeded)
		assert.Equal(w, outcome.CallerDeadline, asError(w, err).Reason)

		ctx, stop := context.WithCancelCause(w.Context())
		time.AfterFunc(time.Second, func() { stop(errors.New("tea time")) })
		_, err = get(ctx, m, "http://reviews/")
		assert.Equal(w, outcome.Cancelled, asError(w, err).Reason)
	})
}

// The deadline that a caller brings says nothing about the endpoint unless it
// left the endpoint the time that it usually needs.
func TestShortDeadlineIsNotTheEndpointsFault(t *testing.T) {
	inBubble(t, func(w *world) {
		s := &tulletest.Script{Default: tulletest.Step{Delay: 300 * time.Millisecond}}
		w.net.Serve(w.T, "10.0.0.1:80", s)
		m := w.mesh(one("10.0.0.1:80"))
		try := func(limit time.Duration) (failed uint64) {
			before := service(w, m, "reviews").Endpoints[0].Failed
			ctx, cancel := context.WithTimeout(w.Context(), limit)
			defer cancel()
			_, err := get(ctx, m, "http://reviews/")
			require.ErrorIs(w, err, context.DeadlineExceeded)
			return service(w, m, "reviews").Endpoints[0].Failed - before
		}
		require.NoError(w, m.Ready(w.Context()))
		synctest.Wait()
		assert.Zero(w, try(99*time.Millisecond), "below the floor")
		assert.EqualValues(w, 1, try(101*time.Millisecond), "above the floor, and nothing better is known")
		for range 50 {
			w.get(m, "http://reviews/")
		}
		assert.Zero(w, try(250*time.Millisecond), "the service is known to need longer")
		s2 := service(w, m, "reviews")
		assert.InDelta(w, 300*time.Millisecond, s2.P95, float64(40*time.Millisecond))
	})
}

// An endpoint that hangs is at fault by whatever way the caller's time is
// bounded: http.Client does it in two ways at once, and either may come first.
func TestHungEndpointIsAtFaultUnderEveryKindOfDeadline(t *testing.T) {
	const calls = 30
	ways := map[string]func(w *world, m *tulle.Mesh, limit time.Duration) error{
		"client time-out": func(w *world, m *tulle.Mesh, limit time.Duration) error {
			c := m.Client()
			c.Timeout = limit
			_, err := c.Get("http://reviews/")
			return err
		},
		// What http.Client does, in the order in which it can be taken for
		// a caller that went away.
		"client time-out, the old way first": func(w *world, m *tulle.Mesh, limit time.Duration) error {
			ctx, cancel := context.WithTimeout(w.Context(), limit)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", "http://reviews/", nil)
			require.NoError(w, err)
			gone := make(chan struct{})
			//lint:ignore SA1019 http.Client still sets it
			req.Cancel = gone
			time.AfterFunc(limit-100*time.Microsecond, func() { close(gone) })
			_, err = m.Transport().RoundTrip(req)
			return err
		},
		"context": func(w *world, m *tulle.Mesh, limit time.Duration) error {
			ctx, cancel := context.WithTimeout(w.Context(), limit)
			defer cancel()
			_, err := get(ctx, m, "http://reviews/")
			return err
		},
		"context with a cause of its own": func(w *world, m *tulle.Mesh, limit time.Duration) error {
			ctx, cancel := context.WithTimeoutCause(w.Context(), limit, errors.New("tea time"))
			defer cancel()
			_, err := get(ctx, m, "http://reviews/")
			return err
		},
	}
	for name, call := range ways {
		for _, protocol := range []tulle.Protocol{tulle.HTTP1, tulle.H2C} {
			for limit, failed := range map[time.Duration]uint64{150 * time.Millisecond: calls, 50 * time.Millisecond: 0} {
				t.Run(fmt.Sprint(name, ", ", protocol, ", ", limit), func(t *testing.T) {
					inBubble(t, func(w *world) {
						w.serve("10.0.0.1:80", tulletest.Step{Fault: tulletest.Hang})
						c := one("10.0.0.1:80")
						c.Services[0].Protocol = protocol
						m := w.mesh(c)
						require.NoError(w, m.Ready(w.Context()))
						for range calls {
							require.True(w, os.IsTimeout(call(w, m, limit)))
						}
						assert.EqualValues(w, calls, service(w, m, "reviews").Calls.Reasons[outcome.CallerDeadline])
						assert.Equal(w, failed, service(w, m, "reviews").Endpoints[0].Failed)
					})
				})
			}
		}
	}
}

// A deadline that call middleware sets is one that the attempt inherits: it
// says something about the endpoint only if it left time enough.
func TestDeadlineOfCallMiddlewareIsInherited(t *testing.T) {
	for limit, failed := range map[time.Duration]uint64{10 * time.Millisecond: 0, 150 * time.Millisecond: 1} {
		t.Run(limit.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{Fault: tulletest.Hang})
				m := w.mesh(one("10.0.0.1:80"), tulle.WithMiddleware(around(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
					ctx, cancel := context.WithTimeout(r.Context(), limit)
					defer cancel()
					return next.RoundTrip(r.WithContext(ctx))
				})))
				require.NoError(w, m.Ready(w.Context()))
				_, err := get(w.Context(), m, "http://reviews/")
				assert.Equal(w, outcome.CallerDeadline, asError(w, err).Reason)
				assert.Equal(w, failed, service(w, m, "reviews").Endpoints[0].Failed)
			})
		})
	}
}

// Whoever waits for an endpoint stops when the caller goes away, by whatever
// way it does, and the error is found under both of its names.
func TestTheWaitForAnEndpointEndsWithTheCaller(t *testing.T) {
	tea := errors.New("tea time")
	for name, row := range map[string]struct {
		leave  func(*http.Request) *http.Request
		reason outcome.Reason
		is     []error
		late   bool
	}{
		"Request.Cancel": {func(r *http.Request) *http.Request {
			gone := make(chan struct{})
			//lint:ignore SA1019 callers may still set it
			r.Cancel = gone
			time.AfterFunc(time.Second, func() { close(gone) })
			return r
		}, outcome.Cancelled, []error{context.Canceled}, false},
		"cancel with a cause": {func(r *http.Request) *http.Request {
			ctx, cancel := context.WithCancelCause(r.Context())
			time.AfterFunc(time.Second, func() { cancel(tea) })
			return r.WithContext(ctx)
		}, outcome.Cancelled, []error{context.Canceled, tea}, false},
		"deadline with a cause": {func(r *http.Request) *http.Request {
			ctx, cancel := context.WithTimeoutCause(r.Context(), time.Second, tea)
			time.AfterFunc(time.Minute, cancel)
			return r.WithContext(ctx)
		}, outcome.NoEndpoint, []error{context.DeadlineExceeded, tea}, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				m := w.mesh(from(newSource()))
				req, err := http.NewRequest("GET", "http://reviews/", nil)
				require.NoError(w, err)
				begin := time.Now()
				_, err = m.Transport().RoundTrip(row.leave(req))
				e := asError(w, err)
				assert.Equal(w, time.Second, time.Since(begin))
				assert.Equal(w, row.reason, e.Reason)
				assert.Equal(w, row.late, e.Timeout())
				for _, is := range row.is {
					assert.ErrorIs(w, err, is)
				}
			})
		})
	}
}

// An attempt that is cut off while it still dials was never sent, so that a
// call of any kind goes elsewhere. Attempt middleware may carry a request
// without a connection; with it nothing is known, and what is not certain to
// be unsent is not repeated.
func TestAttemptCutOffWhileDiallingIsUnsent(t *testing.T) {
	for name, row := range map[string]struct {
		opts   []tulle.Option
		unsent bool
	}{"plain": {nil, true}, "attempt middleware": {[]tulle.Option{tulle.WithAttemptMiddleware(through)}, false}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.net.Blackhole("10.0.0.1:80")
				good := w.serve("10.0.0.2:80", tulletest.Step{})
				c := one("10.0.0.1:80", "10.0.0.2:80")
				c.Services[0].Balancer = balancer.RoundRobin{}
				c.Policies.Retry = &retry.Policy{PerTry: 50 * time.Millisecond}
				m := w.mesh(c, row.opts...)
				failed := 0
				for range 10 {
					if _, err := do(w.Context(), m, "POST", "http://reviews/", "words"); err != nil {
						assert.Equal(w, outcome.AttemptTimeout, asError(w, err).Reason)
						failed++
					}
				}
				assert.Equal(w, !row.unsent, failed > 0, "%d failed", failed)
				assert.Equal(w, 10-failed, good.Count(), "each came once")
				assert.NotZero(w, endpointAt(w, service(w, m, "reviews"), "10.0.0.1:80").Failed)
			})
		})
	}
}
