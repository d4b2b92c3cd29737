package benchmarks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/tulletest"
)

// scripted is a transport that answers with the statuses in turn, with the
// last of them for ever, and keeps what it got. The status 0 is no answer.
type scripted struct {
	mu       sync.Mutex
	statuses []int
	bodies   [][]byte
	headers  []http.Header
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		if err := r.Body.Close(); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	status := s.statuses[min(len(s.bodies), len(s.statuses)-1)]
	s.bodies = append(s.bodies, body)
	s.headers = append(s.headers, r.Header.Clone())
	s.mu.Unlock()
	if status == 0 {
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	return answer(r, status, http.Header{}), nil
}

// through calls f in a bubble with a caller through the stack to a script.
func through(t *testing.T, s stack, statuses []int, f func(*testing.T, *caller, *scripted)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		to := nullFleet()
		script := &scripted{statuses: statuses}
		to.transport = script
		f(t, newCaller(t, s.wrap(t, to), s.hosts(to)), script)
	})
}

// A benchmark of something that does not work is worth nothing: each stack
// does what its row says, and not what it does not say.
func TestStacks(t *testing.T) {
	for _, s := range stacks() {
		t.Run(s.name, func(t *testing.T) {
			t.Run("retries", func(t *testing.T) { testRetries(t, s) })
			t.Run("post", func(t *testing.T) { testPost(t, s) })
			t.Run("time limit", func(t *testing.T) { testTimeLimit(t, s) })
			t.Run("breaker", func(t *testing.T) { testBreaker(t, s) })
			t.Run("avoidance", func(t *testing.T) { testAvoidance(t, s) })
			t.Run("limit", func(t *testing.T) { testLimit(t, s) })
			t.Run("trace", func(t *testing.T) { testTrace(t, s) })
			t.Run("loopback", func(t *testing.T) { testLoopback(t, s) })
		})
	}
}

// testRetries uploads to an endpoint that fails once. With PUT all stacks
// agree that it may be repeated.
func testRetries(t *testing.T, s stack) {
	through(t, s, []int{http.StatusServiceUnavailable, http.StatusOK}, func(t *testing.T, c *caller, script *scripted) {
		status, err := c.send(c.conn, http.MethodPut)
		require.NoError(t, err)
		if !s.retries {
			require.Equal(t, http.StatusServiceUnavailable, status)
			require.Len(t, script.bodies, 1)
			return
		}
		require.Equal(t, http.StatusOK, status)
		require.Len(t, script.bodies, 2)
		for _, body := range script.bodies {
			require.True(t, bytes.Equal(c.upload, body), "body sent")
		}
	})
}

// testPost uploads with POST, which an endpoint that failed may have acted on.
func testPost(t *testing.T, s stack) {
	through(t, s, []int{http.StatusServiceUnavailable, http.StatusOK}, func(t *testing.T, c *caller, script *scripted) {
		_, err := c.send(c.conn, http.MethodPost)
		require.NoError(t, err)
		require.Equal(t, s.repeatsPost, len(script.bodies) == 2, "%d attempts", len(script.bodies))
	})
}

// testTimeLimit calls an endpoint that never answers.
func testTimeLimit(t *testing.T, s stack) {
	const patience = time.Hour
	through(t, s, []int{0}, func(t *testing.T, c *caller, _ *scripted) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(c.conn, patience)
		defer cancel()
		_, err := c.send(ctx, http.MethodPost)
		require.Error(t, err)
		if s.timeLimit {
			// Where the limit is that of an attempt there are two of them.
			require.LessOrEqual(t, time.Since(start), 2*timeLimit+maxWait)
		} else {
			require.Equal(t, patience, time.Since(start))
		}
	})
}

// testBreaker calls an endpoint that always fails, often enough for a breaker.
func testBreaker(t *testing.T, s stack) {
	const calls = 100
	through(t, s, []int{http.StatusInternalServerError}, func(t *testing.T, c *caller, script *scripted) {
		open := false
		for range calls {
			_, err := c.send(c.conn, http.MethodPost)
			_, ours := errors.AsType[*breaker.OpenError](err)
			open = open || ours || errors.Is(err, circuitbreaker.ErrOpen)
		}
		require.Equal(t, s.breaks, open)
		if s.breaks {
			require.Less(t, len(script.bodies), calls)
		} else {
			require.GreaterOrEqual(t, len(script.bodies), calls)
		}
	})
}

// testAvoidance uploads to three servers of which one fails from now on: whoever
// leaves such an endpoint out, or keeps away from it, stops calling it after a few
// failures. There are
// as many successes before, so that no breaker opens.
func testAvoidance(t *testing.T, s stack) {
	if !s.balances {
		require.False(t, s.avoids, "there is nothing to choose from")
		return
	}
	const calls, few = 75, 8
	synctest.Test(t, func(t *testing.T) {
		to, network := nullFleet(), tulletest.NewNetwork()
		failing, failed := false, 0
		for i, addr := range to.addrs {
			network.Serve(t, addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if i == 0 && failing {
					failed++
					w.WriteHeader(http.StatusInternalServerError)
				}
			}))
		}
		to.transport = &http.Transport{DialContext: network.DialContext}
		c := newCaller(t, s.wrap(t, to), s.hosts(to))
		for i := range 2 * calls {
			failing = i >= calls
			_, err := c.send(c.conn, http.MethodPost)
			require.NoError(t, err)
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, s.avoids, failed <= few, "%d requests to the server that fails", failed)
	})
}

// testLimit makes one call more at once than there are places.
func testLimit(t *testing.T, s stack) {
	through(t, s, []int{0}, func(t *testing.T, c *caller, script *scripted) {
		ctx, cancel := context.WithTimeout(c.conn, time.Second)
		defer cancel()
		var refused atomic.Int64
		var wg sync.WaitGroup
		for range placesInFlight + 1 {
			own := newCaller(t, c.rt, s.hosts(nullFleet()))
			wg.Go(func() {
				_, err := own.send(ctx, http.MethodPost)
				if _, ok := errors.AsType[*breaker.LimitError](err); ok {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if s.limits {
			require.EqualValues(t, 1, refused.Load())
			require.Len(t, script.bodies, placesInFlight)
		} else {
			require.Len(t, script.bodies, placesInFlight+1)
		}
	})
}

// testTrace calls in a trace, which only what propagates it tells the endpoint.
func testTrace(t *testing.T, s stack) {
	through(t, s, []int{http.StatusOK}, func(t *testing.T, c *caller, script *scripted) {
		ctx := trace.ContextWithSpanContext(c.conn, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
		}))
		_, err := c.send(ctx, http.MethodPost)
		require.NoError(t, err)
		require.Len(t, script.headers, 1)
		require.Equal(t, s.traces, script.headers[0].Get("Traceparent") != "")
	})
}

// testLoopback makes calls one after the other: each arrives, all servers get
// some, and there is one connection to each.
func testLoopback(t *testing.T, s stack) {
	const calls = 90
	to := newServers(t)
	c := newCaller(t, s.wrap(t, to.fleet), s.hosts(to.fleet))
	for range calls {
		require.NoError(t, c.get())
	}
	sum := int64(0)
	for i := range to.requests {
		n := to.requests[i].Load()
		require.Positive(t, n, "requests to server %d", i)
		sum += n
	}
	require.EqualValues(t, calls, sum)
	require.EqualValues(t, len(to.addrs), to.connections.Load())
}
