package tulle_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// One who waits for a resolver goes on with the one that takes its place.
func TestReadyFollowsAChangeOfResolver(t *testing.T) {
	inBubble(t, func(w *world) {
		c := from(newSource())
		m := w.mesh(c)
		c.Services[0].Resolver = at("10.0.0.1:80")
		time.AfterFunc(time.Second, func() { assert.NoError(w, m.Apply(c)) })
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		assert.NoError(w, m.Ready(ctx))
	})
}

// A panic leaves no request body open.
func TestPanicClosesTheRequestsBody(t *testing.T) {
	for name, row := range map[string]struct {
		hooks    tulle.Hooks
		balancer string
		policies tulle.Policies
	}{
		"picker":          {balancer: "pick"},
		"picker, retries": {balancer: "pick", policies: tulle.Recommended()},
		"hook":            {hooks: tulle.Hooks{AttemptDone: func(tulle.AttemptDone) { panic("boom") }}},
		"hook, retries":   {hooks: tulle.Hooks{AttemptDone: func(tulle.AttemptDone) { panic("boom") }}, policies: tulle.Recommended()},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{})
				c := one("10.0.0.1:80")
				c.Policies = row.policies
				if row.balancer != "" {
					c.Services[0].Balancer = explosive{at: row.balancer}
				}
				m := w.mesh(c, tulle.WithHooks(row.hooks))
				var open atomic.Int64
				open.Add(1)
				req, err := http.NewRequestWithContext(w.Context(), "POST", "http://reviews/", &counted{Reader: strings.NewReader("words"), open: &open})
				require.NoError(w, err)
				require.PanicsWithValue(w, "boom", func() { _, _ = read(m.Transport().RoundTrip(req)) })
				synctest.Wait()
				assert.Zero(w, open.Load(), "the request's body is open")
			})
		})
	}
}

// A body longer than declared is the caller's fault over HTTP/2 too.
func TestLongBodyOverHTTP2IsTheCallersFault(t *testing.T) {
	inBubble(t, func(w *world) {
		s := w.serve("10.0.0.1:80", tulletest.Step{Delay: time.Second})
		c := one("10.0.0.1:80")
		c.Services[0].Protocol = tulle.H2C
		c.Policies.Retry = &retry.Policy{Idempotent: true, On: []outcome.Class{outcome.Connect, outcome.Reset, outcome.Timeout}}
		m := w.mesh(c)
		require.NoError(w, m.Ready(w.Context()))
		req, err := http.NewRequestWithContext(w.Context(), "PUT", "http://reviews/", nil)
		require.NoError(w, err)
		req.ContentLength = 3
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("abcdef")), nil }
		req.Body, _ = req.GetBody()
		_, err = read(m.Transport().RoundTrip(req))
		assert.Equal(w, outcome.BadRequest, asError(w, err).Reason)
		assert.Equal(w, 1, asError(w, err).Attempts)
		assert.LessOrEqual(w, s.Count(), 1)
		assert.Zero(w, service(w, m, "reviews").Endpoints[0].Failed)
	})
}

// A URL that cannot be sent is not tried on one connection after the other.
// Without the limit in the dialler the call never ends.
func TestControlCharactersOverHTTP2AreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*http.Request){
		"query":  func(r *http.Request) { r.URL.RawQuery = "a=b\x01" },
		"opaque": func(r *http.Request) { r.URL.Opaque = "//reviews/a\x7f" },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{})
				c := one("10.0.0.1:80")
				c.Services[0].Protocol = tulle.H2C
				var dials atomic.Int64
				m := w.mesh(c, tulle.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
					if dials.Add(1) > 20 {
						return nil, errors.New("enough")
					}
					return w.net.DialContext(ctx, network, addr)
				}))
				require.NoError(w, m.Ready(w.Context()))
				req, err := http.NewRequestWithContext(w.Context(), "GET", "http://reviews/", nil)
				require.NoError(w, err)
				spoil(req)
				_, err = read(m.Transport().RoundTrip(req))
				assert.Equal(w, outcome.BadRequest, asError(w, err).Reason)
				assert.LessOrEqual(w, dials.Load(), int64(1))
				assert.Zero(w, service(w, m, "reviews").Endpoints[0].Failed)
			})
		})
	}
}

// A bound on idle connections fails no call.
func TestIdleBoundFailsNoCall(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		c := one("10.0.0.1:80")
		c.Services[0].Hosts = []string{"*.reviews.test"}
		c.Services[0].Connection.MaxIdle = 8
		m := w.mesh(c)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for range 200 {
					_, err := get(w.Context(), m, fmt.Sprintf("http://h%d.reviews.test/", i))
					assert.NoError(w, err)
				}
			})
		}
		wg.Wait()
	})
}

// State knows of the endpoints that calls have reached.
func TestStateIsNotBehindCalls(t *testing.T) {
	for range 300 {
		inBubble(t, func(w *world) {
			m := w.mesh(one("10.0.0.1:80"), tulle.WithAttemptMiddleware(around(func(r *http.Request, _ http.RoundTripper) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
			})))
			w.get(m, "http://reviews/")
			require.Len(w, service(w, m, "reviews").Endpoints, 1)
		})
	}
}

func TestMiddlewareThatMakesNothing(t *testing.T) {
	nothing := func(http.RoundTripper) http.RoundTripper { return nil }
	for name, opt := range map[string]tulle.Option{"call": tulle.WithMiddleware(nothing), "attempt": tulle.WithAttemptMiddleware(nothing)} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.serve("10.0.0.1:80", tulletest.Step{})
				m := w.mesh(one("10.0.0.1:80"), opt)
				_, err := get(w.Context(), m, "http://reviews/")
				assert.ErrorContains(w, err, "nil RoundTripper")
			})
		})
	}
}
