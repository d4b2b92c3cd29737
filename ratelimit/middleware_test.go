package ratelimit_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/ratelimit"
)

func configured(t testing.TB, c ratelimit.Config) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(c)
	require.NoError(t, err)
	return l
}

func status(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

func answer(h http.Handler) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, from("192.0.2.1:1"))
	return w
}

// Three in a minute, as the draft has it on the wire.
func TestHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := configured(t, ratelimit.Config{
			Policies: []ratelimit.Policy{
				{Name: "minute", Requests: 3, Period: time.Minute, Key: ratelimit.Key{Source: true}},
				{Name: "tenth", Requests: 100, Period: 100 * time.Millisecond},
				{Name: "trial", Requests: 1, Mode: outcome.Observe},
			},
			Fields: ratelimit.LegacyFields,
		}).Handler(status(204))
		const policy = `"minute";q=3;w=60, "tenth";q=1000;w=1`
		for _, want := range []string{`"minute";r=2;t=40`, `"minute";r=1;t=20`, `"minute";r=0;t=18`} {
			w := answer(h)
			assert.Equal(t, 204, w.Code)
			assert.Equal(t, policy, w.Header().Get("RateLimit-Policy"))
			assert.Equal(t, want, w.Header().Get("RateLimit"))
			assert.Empty(t, w.Header().Get("Retry-After"))
			time.Sleep(time.Second)
		}
		w := answer(h)
		assert.Equal(t, 429, w.Code)
		assert.Equal(t, policy, w.Header().Get("RateLimit-Policy"))
		assert.Equal(t, `"minute";r=0;t=17`, w.Header().Get("RateLimit"))
		assert.Equal(t, "17", w.Header().Get("Retry-After"))
		assert.Equal(t, "3", w.Header().Get("X-RateLimit-Limit"))
		assert.Equal(t, "0", w.Header().Get("X-RateLimit-Remaining"))
		assert.Equal(t, "57", w.Header().Get("X-RateLimit-Reset"))
		assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		var body map[string]any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &body))
		assert.Equal(t, "https://iana.org/assignments/http-problem-types#quota-exceeded", body["type"])
		assert.Equal(t, []any{"minute"}, body["violated-policies"])
		assert.EqualValues(t, 429, body["status"])
		time.Sleep(17 * time.Second)
		assert.Equal(t, 204, answer(h).Code, "when it was told")
	})
}

// Retry-After is never 0, and never too early.
func TestRetryAfterNeverZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := configured(t, ratelimit.Config{Policies: []ratelimit.Policy{{Requests: 1_000_000, Burst: 1}}})
		h := l.Handler(status(200))
		assert.Equal(t, 200, answer(h).Code)
		w := answer(h)
		assert.Equal(t, "1", w.Header().Get("Retry-After"))
		assert.Empty(t, w.Header().Get("RateLimit"), "nobody asked for it")
	})
}

// A redirect does not say that nothing is left.
func TestRedirect(t *testing.T) {
	for code, want := range map[int]bool{301: false, 308: false, 304: true, 200: true, 404: true} {
		h := configured(t, ratelimit.Config{
			Policies: []ratelimit.Policy{{Requests: 1, Period: time.Hour}}, Fields: ratelimit.StandardFields,
		}).Handler(status(code))
		w := answer(h)
		assert.Equal(t, want, w.Header().Get("RateLimit") != "", "%d", code)
		assert.NotEmpty(t, w.Header().Get("RateLimit-Policy"))
	}
}

func TestObserveHandler(t *testing.T) {
	code := 200
	l := configured(t, ratelimit.Config{
		Policies: []ratelimit.Policy{{Requests: 1, Period: time.Hour, Mode: outcome.Observe}}, Fields: ratelimit.LegacyFields,
	})
	h := l.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if code == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(code)
	}))
	for _, code = range []int{200, 200, 204, 500, 503} {
		w := answer(h)
		assert.Equal(t, code, w.Code)
		assert.Empty(t, w.Header(), "there is no limit to tell of")
	}
	code = 0
	assert.Panics(t, func() { answer(h) })
	s := l.Stats()
	assert.Equal(t, []ratelimit.PolicyStats{{Name: "default", WouldRefuse: 5, WouldRefuseSucceeded: 2}}, s.Policies)
	assert.EqualValues(t, 6, s.Allowed)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type closer struct {
	io.Reader
	closed atomic.Bool
}

func (c *closer) Close() error { c.closed.Store(true); return nil }

func TestMiddleware(t *testing.T) {
	sent := 0
	l := configured(t, ratelimit.Config{Policies: []ratelimit.Policy{{Name: "calls", Requests: 1, Period: time.Hour}}})
	rt := l.Middleware(nil)(roundTripper(func(r *http.Request) (*http.Response, error) {
		sent++
		return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
	}))
	for i := range 2 {
		b := &closer{Reader: strings.NewReader("x")}
		r, err := http.NewRequest("POST", "http://reviews/", b)
		require.NoError(t, err)
		resp, err := rt.RoundTrip(r)
		if i == 0 {
			require.NoError(t, err)
			assert.Equal(t, 200, resp.StatusCode)
			continue
		}
		refused, ok := errors.AsType[*ratelimit.Error](err)
		require.True(t, ok)
		assert.Equal(t, "calls", refused.Policy)
		assert.Greater(t, refused.RetryAfter, 59*time.Minute)
		assert.True(t, b.closed.Load())
	}
	assert.Equal(t, 1, sent)
}

// What Observe let through counts as a success only if its body ends well.
func TestObserveMiddleware(t *testing.T) {
	l := configured(t, ratelimit.Config{Policies: []ratelimit.Policy{{Requests: 1, Period: time.Hour, Mode: outcome.Observe}}})
	var body io.Reader
	rt := l.Middleware(nil)(roundTripper(func(r *http.Request) (*http.Response, error) {
		if body == nil {
			return nil, io.ErrUnexpectedEOF
		}
		return &http.Response{StatusCode: 200, Body: io.NopCloser(body), Request: r}, nil
	}))
	broken := io.MultiReader(strings.NewReader("x"), roundReader{})
	for _, body = range []io.Reader{strings.NewReader("free"), strings.NewReader("good"), broken, nil} {
		resp, err := rt.RoundTrip(from(""))
		if body == nil {
			assert.Error(t, err)
			continue
		}
		require.NoError(t, err)
		_, _ = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	assert.Equal(t, ratelimit.PolicyStats{Name: "default", WouldRefuse: 3, WouldRefuseSucceeded: 1}, l.Stats().Policies[0])
}

type roundReader struct{}

func (roundReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Those who wait come through in the order of their arrival, when it is time.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := configured(t, ratelimit.Config{
			Policies: []ratelimit.Policy{
				{Requests: 10, Burst: 1, Key: ratelimit.Key{Header: "X-User"}}, {Name: "all", Requests: 1000, Burst: 1000}},
			MaxWait: time.Second, Waiting: 5,
		})
		start := time.Now()
		var mu sync.Mutex
		var order []int
		for i := range 7 {
			go func() {
				_, err := l.Acquire(from(""), 1)
				if err == nil {
					assert.Equal(t, time.Duration(i)*100*time.Millisecond, time.Since(start))
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
					return
				}
				assert.Equal(t, 6, i, "the queue is full")
				refused, ok := errors.AsType[*ratelimit.Error](err)
				assert.True(t, ok && refused.RetryAfter > 0 && refused.Policy == "default")
			}()
			synctest.Wait()
		}
		assert.Equal(t, 5, l.Stats().Waiting)
		bob := from("")
		bob.Header.Set("X-User", "bob")
		_, err := l.Acquire(bob, 1)
		assert.NoError(t, err, "others are not held up")
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5}, order)
		assert.Zero(t, l.Stats().Waiting)
		assert.EqualValues(t, 5, l.Stats().Waited)
	})
}

// Nobody behind overtakes: not with a smaller cost, and not by coming when the
// bucket has just refilled.
func TestWaitingOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := configured(t, ratelimit.Config{Policies: []ratelimit.Policy{{Requests: 10, Burst: 5}}, MaxWait: time.Second})
		require.True(t, l.Take(from(""), 5, time.Now()).Allowed)
		start := time.Now()
		var mu sync.Mutex
		var order []string
		run := func(name string, cost int64, after time.Duration) {
			go func() {
				_, err := l.Acquire(from(""), cost)
				assert.NoError(t, err)
				assert.Equal(t, after, time.Since(start), "%s: who waits behind takes nothing meanwhile", name)
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		run("big", 5, 500*time.Millisecond)
		time.Sleep(250 * time.Millisecond)
		run("small", 1, 600*time.Millisecond) // there are two by now
		mu.Lock()
		assert.Empty(t, order)
		mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"big", "small"}, order)
	})
}

// Who leaves the queue has taken nothing, and holds nobody up.
func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := configured(t, ratelimit.Config{Policies: []ratelimit.Policy{{Requests: 1}}, MaxWait: 2500 * time.Millisecond})
		require.True(t, l.Take(from(""), 1, time.Now()).Allowed)
		start := time.Now()
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		go func() {
			_, err := l.Acquire(from("").WithContext(ctx), 1)
			assert.ErrorIs(t, err, gone)
		}()
		synctest.Wait()
		go func() {
			_, err := l.Acquire(from(""), 1)
			assert.NoError(t, err)
			assert.Equal(t, time.Second, time.Since(start), "the turn of the one who has left")
		}()
		synctest.Wait()
		late := make([]error, 2)
		for i := range late {
			go func() { _, late[i] = l.Acquire(from(""), 1) }()
			synctest.Wait()
		}
		cancel(gone)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.NoError(t, late[0])
		refused, ok := errors.AsType[*ratelimit.Error](late[1])
		require.True(t, ok, "%v", late[1])
		assert.Equal(t, 2500*time.Millisecond, refused.Waited)
		assert.Positive(t, refused.RetryAfter)

		short, cancelShort := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancelShort()
		require.True(t, l.Take(from(""), 1, time.Now()).Allowed)
		at := time.Now()
		_, err := l.Acquire(from("").WithContext(short), 1)
		assert.ErrorContains(t, err, "again in 1s")
		assert.Zero(t, time.Since(at), "it would be too late in any case")
	})
}
