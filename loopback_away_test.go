package tulle_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

// kept is a listener whose socket stays open when a server closes it, so that
// the next server at the same address has the connections that came meanwhile.
type kept struct {
	*net.TCPListener
	closed atomic.Bool
}

func (k *kept) Accept() (net.Conn, error) {
	c, err := k.TCPListener.Accept()
	if err != nil && k.closed.Load() {
		err = net.ErrClosed
	}
	return c, err
}

// Close ends Accept and nothing else.
func (k *kept) Close() error {
	k.closed.Store(true)
	return k.SetDeadline(time.Unix(1, 0))
}

// A server that cycles its connections, as one does that is replaced at its
// address, sends GOAWAY while calls are under way: those it has begun are
// answered, the others go over a new connection, to the only endpoint there
// is. None fails, and each comes once.
func TestGoAwayFromTheOnlyEndpoint(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			s := newScene(t)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			var got atomic.Int64
			c := one(l.Addr().String())
			c.Services[0].Protocol = tulle.H2C
			c.Policies = tulle.Recommended()
			m := s.mesh(c)

			const servers, calls = 3, 2000
			var load sync.WaitGroup
			var errs []error
			load.Go(func() { errs = reach(t, m, method, "http://reviews/", calls) })
			for n := range int64(servers) {
				srv := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					got.Add(1)
					ok(w, r)
				})}
				srv.Protocols.SetUnencryptedHTTP2(true)
				require.NoError(t, l.(*net.TCPListener).SetDeadline(time.Time{}))
				var serving sync.WaitGroup
				serving.Go(func() { _ = srv.Serve(&kept{TCPListener: l.(*net.TCPListener)}) })
				until(t, "the server is busy", func() bool { return got.Load() >= calls*(n+1)/servers*9/10 })
				if n == servers-1 {
					load.Wait()
				}
				require.NoError(t, srv.Shutdown(t.Context()))
				serving.Wait()
			}
			assert.Empty(t, errs)
			assert.EqualValues(t, calls, got.Load(), "each call came once")
			assert.GreaterOrEqual(t, s.dialled.Load(), int64(servers))
		})
	}
}

// fickle answers the first request on each connection. When a second comes it
// closes the connection, as a server does that has just found it idle for too
// long: with gone it does so at once, else when it sees the request. It tells
// which requests it acted on.
func (s *scene) fickle(gone bool) (addr string, acted *sync.Map) {
	acted = new(sync.Map)
	return raw(s.T, func(c net.Conn) {
		b := bufio.NewReader(c)
		r, err := http.ReadRequest(b)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		id := r.Header.Get(echoHeader)
		if _, twice := acted.LoadOrStore(id, true); twice {
			s.Errorf("request %s came twice", id)
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(id), id)
		if !gone {
			_, _ = b.Peek(1)
		}
	}), acted
}

const echoHeader = "X-Request"

// A server closes idle connections at the very moment of their reuse. What may
// be repeated is, and no caller notices. What may not, and may have been seen,
// fails with a typed error; it is never made twice.
func TestIdleCloseRace(t *testing.T) {
	const calls = 200
	once := &retry.Policy{Attempts: 1}
	always := &retry.Policy{Budget: retry.BudgetPolicy{Ratio: -1}, Backoff: retry.Backoff{Base: 1, Max: 1}}
	for name, row := range map[string]struct {
		method string
		gone   bool
		retry  *retry.Policy
		key    bool
		fails  bool // every second call, and surely
		may    bool // fail
	}{
		"GET":                            {"GET", false, always, false, false, false},
		"GET, closed before":             {"GET", true, always, false, false, false},
		"PUT":                            {"PUT", false, always, false, false, false},
		"PUT, closed before":             {"PUT", true, always, false, false, false},
		"PUT without retries":            {"PUT", false, once, false, true, false},
		"POST":                           {"POST", false, always, false, true, false},
		"POST, closed before":            {"POST", true, always, false, false, true},
		"POST that says it is repeated":  {"POST", false, always, true, false, false},
		"POST with a key, closed before": {"POST", true, always, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			addr, acted := s.fickle(row.gone)
			c := one(addr)
			c.Policies.Retry = row.retry
			m := s.mesh(c)
			failed := 0
			for n := range calls {
				id := fmt.Sprint(n)
				var body io.Reader
				if row.method != "GET" {
					body = strings.NewReader("some words")
				}
				req, err := http.NewRequestWithContext(t.Context(), row.method, "http://reviews/", body)
				require.NoError(t, err)
				req.Header.Set(echoHeader, id)
				if row.key {
					req.Header.Set("Idempotency-Key", id)
				}
				a, err := read(m.Transport().RoundTrip(req))
				_, done := acted.Load(id)
				if err != nil {
					failed++
					assert.Equal(t, outcome.ConnectionLost, asError(t, err).Reason)
					assert.False(t, done, "what failed was not done")
					continue
				}
				assert.Equal(t, id, a.body)
				assert.True(t, done)
			}
			switch {
			case row.fails:
				assert.Equal(t, calls/2, failed)
			case !row.may:
				assert.Zero(t, failed)
			}
			assert.GreaterOrEqual(t, s.dialled.Load(), int64(calls/2))
		})
	}
}

// All endpoints go down under load and come back. While they are down callers
// get typed errors, and get them soon; the first call after their return, or
// one of the next, is answered, and then all are.
func TestAllEndpointsDownAndBackUnderLoad(t *testing.T) {
	s := newScene(t)
	var addrs []string
	var servers []*http.Server
	start := func(addr string) string {
		l, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		srv := &http.Server{Handler: http.HandlerFunc(ok)}
		go func() { _ = srv.Serve(l) }()
		t.Cleanup(func() { _ = srv.Close() })
		servers = append(servers, srv)
		return l.Addr().String()
	}
	for range 3 {
		addrs = append(addrs, start("127.0.0.1:0"))
	}
	c := one(addrs...)
	c.Policies = tulle.Recommended()
	m := s.mesh(c)
	for range 3 {
		require.Empty(t, reach(t, m, "POST", "http://reviews/", 50))

		var load sync.WaitGroup
		var begun atomic.Int64
		var mu sync.Mutex
		var errs []error
		for range 8 {
			load.Go(func() {
				for failed := 0; failed < 10; begun.Add(1) {
					if _, err := get(t.Context(), m, "http://reviews/"); err != nil {
						failed++
						mu.Lock()
						errs = append(errs, err)
						mu.Unlock()
					}
				}
			})
		}
		until(t, "there is load", func() bool { return begun.Load() >= 50 })
		for _, srv := range servers {
			require.NoError(t, srv.Close())
		}
		load.Wait()
		require.Len(t, errs, 80)
		for _, err := range errs {
			// A body may be cut off too, which is an error of its reader.
			if e, typed := err.(*tulle.Error); typed {
				assert.Contains(t, []outcome.Reason{outcome.ConnectFailed, outcome.ConnectionLost}, e.Reason)
			}
		}
		_, err := get(t.Context(), m, "http://reviews/")
		assert.Equal(t, outcome.ConnectFailed, asError(t, err).Reason)
		s.idle(m)

		servers = nil
		for _, addr := range addrs {
			start(addr)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for {
			_, err := get(ctx, m, "http://reviews/")
			if err == nil {
				break
			}
			require.NoError(t, ctx.Err(), "nothing is answered any more: %v", err)
		}
	}
	assert.Empty(t, reach(t, m, "POST", "http://reviews/", 100))
}
