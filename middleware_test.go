package tulle_test

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

// around makes middleware of a function.
func around(f func(r *http.Request, next http.RoundTripper) (*http.Response, error)) tulle.Middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripperFunc(func(r *http.Request) (*http.Response, error) { return f(r, next) })
	}
}

func TestMiddlewareSockets(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 503}, tulletest.Step{})
		var order []string
		mark := func(name string) tulle.Middleware {
			return func(next http.RoundTripper) http.RoundTripper {
				return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
					c := tulle.CallFrom(r.Context())
					require.NotNil(w, c)
					order = append(order, name)
					resp, err := next.RoundTrip(r)
					assert.Equal(w, "reviews", c.Service())
					if name == "a" {
						assert.Equal(w, 2, c.Attempts())
						assert.Equal(w, "10.0.0.1:80", c.Endpoint())
					}
					return resp, err
				})
			}
		}
		c := one("10.0.0.1:80")
		c.Policies = tulle.Recommended()
		m := w.mesh(c, tulle.WithMiddleware(mark("a"), mark("b")), tulle.WithAttemptMiddleware(mark("x"), mark("y")))
		req, err := http.NewRequestWithContext(w.Context(), "GET", "http://reviews/", nil)
		require.NoError(w, err)
		resp, err := m.Transport().RoundTrip(req)
		require.NoError(w, err)
		assert.Same(w, req, resp.Request)
		resp.Body.Close()
		assert.Equal(w, []string{"a", "b", "x", "y", "x", "y"}, order)
	})
}

// Call middleware may itself repeat a call: each time is a call of its own.
func TestCallMiddlewareMayComeTwice(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Status: 500}, tulletest.Step{Status: 201})
		twice := func(next http.RoundTripper) http.RoundTripper {
			return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
				if resp, err := next.RoundTrip(r); err == nil {
					resp.Body.Close()
				}
				return next.RoundTrip(r)
			})
		}
		m := w.mesh(one("10.0.0.1:80"), tulle.WithMiddleware(twice))
		require.Equal(w, 201, w.get(m, "http://reviews/").status)
		s := service(w, m, "reviews")
		assert.EqualValues(w, 2, s.Calls.Calls)
		assert.Zero(w, s.Calls.Active)
	})
}

// It may even come at the same time: one of them is the call it began with,
// and none gets in the way of another.
func TestCallMiddlewareMayComeTwiceAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{Body: "ok"})
		hedge := around(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			both := make(chan *http.Response, 2)
			for range 2 {
				go func() {
					resp, err := next.RoundTrip(r.Clone(r.Context()))
					assert.NoError(w, err)
					both <- resp
				}()
			}
			first, second := <-both, <-both
			second.Body.Close()
			return first, nil
		})
		var told, began sync.Map
		m := w.mesh(one("10.0.0.1:80"), tulle.WithMiddleware(around(func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			began.Store(tulle.CallFrom(r.Context()), true)
			return next.RoundTrip(r)
		}), hedge), tulle.WithHooks(tulle.Hooks{CallDone: func(d tulle.CallDone) {
			_, twice := told.LoadOrStore(d.Call, true)
			assert.False(w, twice, "a call ends once")
		}}))
		require.NoError(w, m.Ready(w.Context()))
		for range 20 {
			require.Equal(w, "ok", w.get(m, "http://reviews/").body)
		}
		synctest.Wait()
		s := service(w, m, "reviews")
		assert.EqualValues(w, 40, s.Calls.Calls)
		assert.Zero(w, s.Calls.Active)
		assert.Zero(w, s.Endpoints[0].InFlight)
		ended := 0
		told.Range(func(any, any) bool { ended++; return true })
		assert.Equal(w, 40, ended)
		began.Range(func(c, _ any) bool {
			_, is := told.Load(c)
			assert.True(w, is, "the call that began is one of those that ended")
			return true
		})
	})
}

// Neither an error instead of nothing nor a response beside an error gets
// through: callers get one of both, and no body is left open.
func TestAttemptMiddlewareThatBreaksTheContract(t *testing.T) {
	for name, row := range map[string]struct {
		resp bool
		err  error
	}{"neither": {false, nil}, "both": {true, errors.New("both")}} {
		for _, policies := range []tulle.Policies{{}, {Timeout: time.Hour}, tulle.Recommended()} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(w *world) {
					var open atomic.Int64
					c := one("10.0.0.1:80")
					c.Policies = policies
					m := w.mesh(c, tulle.WithAttemptMiddleware(around(func(*http.Request, http.RoundTripper) (*http.Response, error) {
						if !row.resp {
							return nil, row.err
						}
						open.Add(1)
						return &http.Response{StatusCode: 200, Body: &counted{Reader: http.NoBody, open: &open}}, row.err
					})))
					require.NoError(w, m.Ready(w.Context()))
					_, err := get(w.Context(), m, "http://reviews/")
					e := asError(w, err)
					if row.err != nil {
						assert.ErrorIs(w, err, row.err)
					}
					assert.Equal(w, "10.0.0.1:80", e.Endpoint)
					assert.Zero(w, open.Load(), "bodies left open")
					assert.Zero(w, service(w, m, "reviews").Endpoints[0].InFlight)
				})
			})
		}
	}
}

// An Error that middleware returns belongs to the middleware: what is added
// on the way out is added to another.
func TestErrorsOfMiddlewareAreNotChanged(t *testing.T) {
	inBubble(t, func(w *world) {
		cause := errors.New("by lot")
		sentinel := &tulle.Error{Reason: outcome.FaultInjected, Err: cause}
		m := w.mesh(one("10.0.0.1:80"), tulle.WithAttemptMiddleware(around(func(*http.Request, http.RoundTripper) (*http.Response, error) {
			return nil, sentinel
		})))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_, err := get(w.Context(), m, "http://reviews/")
				e := asError(w, err)
				assert.Equal(w, outcome.FaultInjected, e.Reason)
				assert.Equal(w, "reviews", e.Service)
				assert.Equal(w, "10.0.0.1:80", e.Endpoint)
				assert.ErrorIs(w, err, cause)
			})
		}
		wg.Wait()
		assert.Equal(w, tulle.Error{Reason: outcome.FaultInjected, Err: cause}, *sentinel)
	})
}

// The error of a mesh within a mesh is the cause of the outer one's error.
func TestErrorOfANestedMeshIsTheCause(t *testing.T) {
	inBubble(t, func(w *world) {
		inner := w.mesh(tulle.Config{Services: []tulle.Service{{Name: "inner", Hosts: []string{"reviews"}, Resolver: at(), MaxWait: -1}}})
		outer := w.mesh(one("10.0.0.1:80"), tulle.WithAttemptMiddleware(func(http.RoundTripper) http.RoundTripper { return inner.Transport() }))
		_, err := get(w.Context(), outer, "http://reviews/")
		e := asError(w, err)
		assert.Equal(w, "reviews", e.Service)
		assert.Equal(w, "10.0.0.1:80", e.Endpoint)
		within := asError(w, e.Err)
		assert.Equal(w, "inner", within.Service)
		assert.Equal(w, outcome.NoEndpoint, within.Reason)
	})
}

// CloseIdleConnections reaches everything that may keep connections.
func TestCloseIdleConnectionsReachesEverything(t *testing.T) {
	inBubble(t, func(w *world) {
		w.serve("10.0.0.1:80", tulletest.Step{})
		w.serve("elsewhere:80", tulletest.Step{})
		var call, attempt atomic.Int64
		m := w.mesh(one("10.0.0.1:80"),
			tulle.WithMiddleware(func(next http.RoundTripper) http.RoundTripper { return &closer{next, &call} }),
			tulle.WithAttemptMiddleware(func(next http.RoundTripper) http.RoundTripper { return &closer{next, &attempt} }))
		w.get(m, "http://reviews/")
		w.get(m, "http://elsewhere/")
		synctest.Wait()
		require.Equal(w, 1, w.net.Open("10.0.0.1:80"))
		m.Client().CloseIdleConnections()
		synctest.Wait()
		assert.NotZero(w, call.Load(), "call middleware")
		assert.NotZero(w, attempt.Load(), "attempt middleware")
		assert.Zero(w, w.net.Open("10.0.0.1:80"), "endpoints")
		assert.Zero(w, w.net.Open("elsewhere:80"), "unknown hosts")
	})
}

// closer is middleware that counts, and does not pass on, what it is told.
type closer struct {
	http.RoundTripper
	n *atomic.Int64
}

func (c *closer) CloseIdleConnections() { c.n.Add(1) }
