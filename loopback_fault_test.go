// What a caller gets of each fault of its surroundings, over real sockets, and
// within which time. In every row nothing is left behind: no call that counts as
// active, no attempt in flight, no connection, goroutine or descriptor (see
// scene). "Repeatable" are the methods that retry.Policy says, and those with an
// Idempotency-Key; retries are as in Recommended, and there is another endpoint
// unless "alone" says that there is not.
//
//	fault                    what the caller gets                         within
//	refused                  an answer, whatever the method; alone        at once
//	                         ConnectFailed, after all attempts
//	reset or closed before   repeatable: an answer, alone ConnectionLost  at once
//	the headers, half a      after all attempts; others: ConnectionLost
//	header, no HTTP          after one attempt
//	silent: accepted,        repeatable: an answer from elsewhere, alone  PerTry of each
//	never answered, a        AttemptTimeout; others: AttemptTimeout;      attempt, Timeout
//	stopped process          without PerTry CallTimeout. Answers that     of all of them
//	                         come later reach nobody
//	reset or cut off within  what came, then an error of the body, never  at once
//	the body, broken chunks  io.EOF; not repeated, held against the
//	                         endpoint
//	slow drip                what came, then an error that is             Timeout, or the
//	                         context.DeadlineExceeded, of the body;       caller's deadline
//	                         not held against the endpoint
//	GOAWAY under load        an answer, whatever the method, alone too;   at once
//	                         each call comes once
//	idle connection closed   repeatable: an answer, alone too; others:    at once
//	at its reuse             an answer, or ConnectionLost if it may have
//	                         been seen; never made twice
//	name server gone or      an answer: what is known stays in use        at once
//	silent
//	the same, and nothing    NoEndpoint with the *net.DNSError, no        MaxWait, or the
//	was ever known           attempt made                                 caller's deadline
//	all endpoints down       ConnectFailed, ConnectionLost                at once; answers
//	                                                                      with their return
//
// Tests of the same faults that came first are in loopback_test.go.
package tulle_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// sick serves each connection with f after it has read a request, and closes
// it. It counts the requests.
func (s *scene) sick(f func(net.Conn, *http.Request)) (addr string, seen *atomic.Int64) {
	seen = new(atomic.Int64)
	return raw(s.T, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		seen.Add(1)
		f(c, r)
	}), seen
}

// nobody returns an address at which nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// reset closes a connection so that its peer sees it reset.
func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

// hang says nothing until the caller has gone.
func hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// faults are what an endpoint does instead of answering.
var faults = []struct {
	name  string
	serve func(net.Conn, *http.Request) // nil is nobody there
	// reason is that of the error when there is no other endpoint, is what is
	// to be found in it.
	reason outcome.Reason
	is     error
	// unsent says that any method may be repeated.
	unsent bool
}{
	{"refused", nil, outcome.ConnectFailed, syscall.ECONNREFUSED, true},
	{"reset before headers", func(c net.Conn, _ *http.Request) { reset(c) }, outcome.ConnectionLost, syscall.ECONNRESET, false},
	{"closed before headers", func(net.Conn, *http.Request) {}, outcome.ConnectionLost, io.EOF, false},
	{"half a header", func(c net.Conn, _ *http.Request) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n")
	}, outcome.ConnectionLost, io.ErrUnexpectedEOF, false},
	{"no HTTP", func(c net.Conn, _ *http.Request) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n\r\n") }, outcome.ConnectionLost, nil, false},
	{"silent", func(c net.Conn, _ *http.Request) { hang(c) }, outcome.AttemptTimeout, context.DeadlineExceeded, false},
}

// Before the headers: alone with such an endpoint a caller gets a typed error
// after all attempts that are safe, and with another one beside it what may be
// repeated reaches that.
func TestFaultsBeforeTheHeaders(t *testing.T) {
	for _, f := range faults {
		policy := func(perTry time.Duration) *retry.Policy {
			if f.reason != outcome.AttemptTimeout {
				// A busy machine must not be taken for a fault.
				perTry = patience
			}
			return &retry.Policy{
				PerTry: perTry, Budget: retry.BudgetPolicy{Ratio: -1}, Backoff: retry.Backoff{Base: 1, Max: 1},
			}
		}
		start := func(t *testing.T) (s *scene, addr string, seen *atomic.Int64) {
			s = newScene(t)
			if f.serve == nil {
				return s, nobody(t), new(atomic.Int64)
			}
			addr, seen = s.sick(f.serve)
			return s, addr, seen
		}
		for _, method := range []string{"GET", "POST"} {
			t.Run(f.name+"/alone/"+method, func(t *testing.T) {
				s, addr, seen := start(t)
				c := one(addr)
				c.Policies.Retry = policy(100 * time.Millisecond)
				m := s.mesh(c)
				attempts := 1
				if method == "GET" || f.unsent {
					attempts = 2
				}
				_, err := do(t.Context(), m, method, "http://reviews/", "some words")
				e := asError(t, err)
				assert.Equal(t, f.reason, e.Reason, e)
				assert.Equal(t, attempts, e.Attempts)
				assert.Equal(t, addr, e.Endpoint)
				assert.Equal(t, f.reason == outcome.AttemptTimeout, e.Timeout())
				if f.is != nil {
					assert.ErrorIs(t, err, f.is)
				}
				if f.serve != nil {
					assert.EqualValues(t, attempts, seen.Load(), "requests that came to the endpoint")
				}
				s.idle(m)
				until(t, "no broken connection is kept", func() bool { return s.open.Load() == 0 })
				assert.EqualValues(t, attempts, service(t, m, "reviews").Endpoints[0].Failed)
				assert.Equal(t, 1, s.ended(f.reason), "the call has ended once")
			})
			t.Run(f.name+"/beside another/"+method, func(t *testing.T) {
				s, addr, seen := start(t)
				c := one(addr, server(t, ok))
				c.Policies.Retry = policy(600 * time.Millisecond)
				m := s.mesh(c)
				errs := reach(t, m, method, "http://reviews/", 20)
				if method == "GET" || f.unsent {
					assert.Empty(t, errs)
					return
				}
				// That the endpoint saw them is all that is known, so they are
				// not made again, and nobody is told that they were not made.
				assert.EqualValues(t, seen.Load(), len(errs))
				for _, err := range errs {
					assert.Equal(t, f.reason, asError(t, err).Reason)
				}
			})
		}
		t.Run(f.name+"/without the policy", func(t *testing.T) {
			s, addr, _ := start(t)
			c := one(addr, server(t, ok))
			reason := f.reason
			if reason == outcome.AttemptTimeout {
				reason, c.Policies.Timeout = outcome.CallTimeout, 600*time.Millisecond
			}
			m := s.mesh(c)
			// One after the other: while an endpoint hangs on to a call, least
			// request keeps others away from it.
			var err error
			for range 40 {
				if _, err = get(t.Context(), m, "http://reviews/"); err != nil {
					break
				}
			}
			require.Error(t, err, "callers do notice")
			assert.Equal(t, reason, asError(t, err).Reason)
		})
	}
}

// After the headers the response is the caller's: what breaks then is an error
// of its body, never a short body and never another response. It is held
// against the endpoint, and no connection that broke is used again.
func TestFaultsWithinTheBody(t *testing.T) {
	const part = "the first part"
	const length, chunked = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, row := range map[string]struct {
		wire  string
		reset bool
		is    error
		whole bool
	}{
		"reset":                   {length + part, true, syscall.ECONNRESET, false},
		"reset between chunks":    {chunked + "e\r\n" + part + "\r\n", true, syscall.ECONNRESET, false},
		"shorter than it says":    {length + part, false, io.ErrUnexpectedEOF, false},
		"no last chunk":           {chunked + "e\r\n" + part + "\r\n", false, io.ErrUnexpectedEOF, false},
		"half a chunk":            {chunked + "20\r\n" + part, false, io.ErrUnexpectedEOF, false},
		"chunk of no length":      {chunked + "e\r\n" + part + "\r\nzz\r\n", false, nil, false},
		"chunk longer than it is": {chunked + "e\r\n" + part + "??\r\n0\r\n\r\n", false, nil, false},
		// What has no length ends where the connection does.
		"no length": {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + part, false, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			// What was written may be lost to a reset, so that waits.
			arrived := make(chan struct{})
			addr, seen := s.sick(func(c net.Conn, _ *http.Request) {
				_, _ = io.WriteString(c, row.wire)
				if row.reset {
					<-arrived
					reset(c)
				}
			})
			c := one(addr)
			c.Policies = tulle.Recommended()
			m := s.mesh(c)
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://reviews/", nil)
			require.NoError(t, err)
			resp, err := m.Transport().RoundTrip(req)
			require.NoError(t, err)
			got := make([]byte, len(part))
			_, err = io.ReadFull(resp.Body, got)
			close(arrived)
			require.NoError(t, err)
			assert.Equal(t, part, string(got), "what came is not lost")
			rest, err := io.ReadAll(resp.Body)
			require.NoError(t, resp.Body.Close())
			assert.Empty(t, rest)
			failed := uint64(1)
			if row.whole {
				failed = 0
				assert.NoError(t, err)
			} else {
				assert.Error(t, err)
			}
			if row.is != nil {
				assert.ErrorIs(t, err, row.is)
			}
			s.idle(m)
			until(t, "no broken connection is kept", func() bool { return s.open.Load() == 0 })
			e := service(t, m, "reviews").Endpoints[0]
			assert.Equal(t, failed, e.Failed)
			assert.Equal(t, 1-failed, e.OK)
			assert.EqualValues(t, 1, seen.Load(), "a response that was begun is not asked for again")
			assert.EqualValues(t, 1, s.dialled.Load())
		})
	}
}

// Over HTTP/2 it is the stream that breaks: the body ends with an error, and
// calls on the same connection notice nothing.
func TestResetOfAStreamWithinTheBody(t *testing.T) {
	const part = "the first part"
	s := newScene(t)
	_, addr := h2cServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, part)
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/breaks" {
			panic(http.ErrAbortHandler)
		}
	})
	c := one(addr)
	c.Services[0].Protocol, c.Policies = tulle.H2C, tulle.Recommended()
	m := s.mesh(c)
	for range 20 {
		a, err := get(t.Context(), m, "http://reviews/breaks")
		require.Error(t, err)
		assert.Equal(t, part, a.body, "what came is not lost")
		a, err = get(t.Context(), m, "http://reviews/")
		require.NoError(t, err)
		assert.Equal(t, part, a.body)
	}
	e := service(t, m, "reviews").Endpoints[0]
	assert.EqualValues(t, 20, e.Failed)
	assert.EqualValues(t, 20, e.OK)
	assert.EqualValues(t, 1, s.dialled.Load(), "the connection is as good as before")
}

// drip answers with n bytes, one after the other, and stops when the caller
// has gone.
func drip(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range n {
			if _, err := io.WriteString(w, "x"); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}
}

// A body that comes drop by drop ends with the time of the call, of whomever
// that is, and so does the attempt: PerTry, which ends at the headers, is no
// help.
func TestSlowDripIsBounded(t *testing.T) {
	const limit = 600 * time.Millisecond
	for name, protocol := range map[string]tulle.Protocol{"HTTP/1.1": tulle.HTTP1, "h2c": tulle.H2C} {
		start := func(s *scene, p tulle.Policies, drops int) *tulle.Mesh {
			var addr string
			if protocol == tulle.H2C {
				_, addr = h2cServer(s.T, drip(drops))
			} else {
				addr = server(s.T, drip(drops))
			}
			c := one(addr)
			c.Services[0].Protocol, c.Policies = protocol, p
			return s.mesh(c)
		}
		t.Run(name+"/time of the call", func(t *testing.T) {
			s := newScene(t)
			m := start(s, tulle.Policies{Timeout: limit, Retry: &retry.Policy{PerTry: limit / 2}}, 1<<30)
			a, err := get(t.Context(), m, "http://reviews/")
			assert.Equal(t, 200, a.status)
			assert.NotEmpty(t, a.body, "what came is not lost")
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			if late, ours := errors.AsType[*retry.TimeoutError](err); assert.True(t, ours, err) {
				assert.Equal(t, retry.TimeoutError{Limit: limit}, *late)
			}
			s.idle(m)
			assert.Equal(t, 1, s.ended(outcome.CallTimeout), "the mesh knows whose time it was")
			assert.Zero(t, service(t, m, "reviews").Endpoints[0].Failed, "how long a body takes nobody has promised")
		})
		t.Run(name+"/time of the caller", func(t *testing.T) {
			s := newScene(t)
			m := start(s, tulle.Recommended(), 1<<30)
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			_, err := get(ctx, m, "http://reviews/")
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			s.idle(m)
			assert.Equal(t, 1, s.ended(outcome.CallerDeadline))
		})
		t.Run(name+"/closed by the caller", func(t *testing.T) {
			s := newScene(t)
			m := start(s, tulle.Recommended(), 1<<30)
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://reviews/", nil)
			require.NoError(t, err)
			resp, err := m.Transport().RoundTrip(req)
			require.NoError(t, err)
			_, err = io.ReadFull(resp.Body, make([]byte, 2))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			s.idle(m)
			assert.Zero(t, service(t, m, "reviews").Endpoints[0].Failed, "the endpoint is not to blame")
		})
		t.Run(name+"/without a limit", func(t *testing.T) {
			s := newScene(t)
			m := start(s, tulle.Policies{}, 150)
			begin := time.Now()
			a, err := get(t.Context(), m, "http://reviews/")
			require.NoError(t, err)
			assert.Equal(t, strings.Repeat("x", 150), a.body)
			assert.Greater(t, time.Since(begin), limit, "longer than the limit, so the limit is what ends the others")
		})
	}
}
