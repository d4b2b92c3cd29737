package breaker_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/tulletest"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type requestBody struct {
	io.Reader
	closed int
}

func (b *requestBody) Close() error { b.closed++; return nil }

func get(ctx context.Context) *http.Request {
	return httptest.NewRequest("GET", "http://reviews/", nil).WithContext(ctx)
}

func status(code int) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Body: http.NoBody, Request: r}, nil
	}
}

func TestMiddlewareKeepsTheContractOfRoundTripper(t *testing.T) {
	for name, p := range map[string]breaker.Policy{
		"enforce": {FailureRate: -1, Consecutive: 1 << 30, SlowCall: time.Hour},
		"observe": {Mode: outcome.Observe, Consecutive: 1},
	} {
		t.Run("breaker "+name, func(t *testing.T) {
			tulletest.TestRoundTripper(t, newBreaker(t, p, breaker.Options{}).Middleware(nil))
		})
	}
	for name, l := range map[string]breaker.Limit{
		"enforce": {InFlight: 1 << 20, Waiting: 1},
		"observe": {Mode: outcome.Observe, InFlight: 1},
	} {
		t.Run("limiter "+name, func(t *testing.T) {
			limiter := newLimiter(t, l)
			tulletest.TestRoundTripper(t, limiter.Middleware(nil))
			assert.Zero(t, limiter.Stats().InFlight, "every slot came back")
		})
	}
}

func TestMiddlewareOpensAndRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{}, breaker.Options{Service: "reviews"})
		sent := 0
		rt := b.Middleware(nil)(roundTripper(func(r *http.Request) (*http.Response, error) {
			sent++
			return status(503)(r)
		}))
		for range 20 {
			resp, err := rt.RoundTrip(get(t.Context()))
			require.NoError(t, err)
			assert.Equal(t, 503, resp.StatusCode)
		}
		body := &requestBody{Reader: strings.NewReader("x")}
		_, err := rt.RoundTrip(httptest.NewRequest("POST", "http://reviews/", body))
		_, refused := errors.AsType[*breaker.OpenError](err)
		assert.True(t, refused)
		assert.Equal(t, 1, body.closed)
		assert.Equal(t, 20, sent)
	})
}

func TestMiddlewareTellsWhatItSaw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var event breaker.Event
		b := newBreaker(t, breaker.Policy{Consecutive: 2}, breaker.Options{OnEvent: func(e breaker.Event) { event = e }})
		rt := b.Middleware(nil)(roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return status(502)(r)
		}))
		for _, parent := range []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-short-b7ad6b7169203331-01"} {
			r := get(t.Context())
			r.Header.Set("Traceparent", parent)
			_, err := rt.RoundTrip(r)
			require.NoError(t, err)
		}
		require.Len(t, event.Last, 2)
		assert.Equal(t, breaker.Sample{
			At: event.At.Add(-time.Second), Class: outcome.Gateway, Status: 502, Latency: time.Second, TraceID: "0af7651916cd43dd8448eb211c80319c",
		}, event.Last[0])
		assert.Empty(t, event.Last[1].TraceID)
	})
}

// Ten callers who leave do not open a breaker, whatever the transport calls
// the error; ten attempts that fail by themselves do.
func TestCancelIsNeutral(t *testing.T) {
	cause := errors.New("gone home")
	for _, cancelled := range []bool{true, false} {
		b := newBreaker(t, breaker.Policy{Consecutive: 10}, breaker.Options{})
		ctx, cancel := context.WithCancelCause(t.Context())
		rt := b.Middleware(nil)(roundTripper(func(r *http.Request) (*http.Response, error) {
			if cancelled {
				cancel(cause)
			}
			return nil, cause
		}))
		for range 10 {
			_, err := rt.RoundTrip(get(ctx))
			assert.ErrorIs(t, err, cause)
		}
		assert.Equal(t, !cancelled, b.State() == breaker.Open)
		cancel(nil)
	}
}

// A panic below gives a trial's place back.
func TestPanicBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Policy{HalfOpenCalls: 1}, breaker.Options{})
		l := newLimiter(t, breaker.Limit{InFlight: 1})
		tripAndWait(t, b)
		rt := l.Middleware(nil)(b.Middleware(nil)(roundTripper(func(r *http.Request) (*http.Response, error) { panic(http.ErrAbortHandler) })))
		for range 3 {
			assert.PanicsWithValue(t, http.ErrAbortHandler, func() { _, _ = rt.RoundTrip(get(t.Context())) })
		}
		assert.True(t, b.Due(time.Now()))
		assert.Zero(t, l.Stats().InFlight)
	})
}

func TestPanicOfTheListenerClosesTheBody(t *testing.T) {
	b := newBreaker(t, breaker.Policy{Consecutive: 1}, breaker.Options{OnEvent: func(breaker.Event) { panic("listener") }})
	body := &requestBody{Reader: strings.NewReader("x")}
	rt := b.Middleware(nil)(roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 503, Body: body}, nil
	}))
	assert.PanicsWithValue(t, "listener", func() { _, _ = rt.RoundTrip(get(t.Context())) })
	assert.Equal(t, 1, body.closed)
}

// broken is a body that breaks off.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
func (broken) Close() error               { return nil }

func TestBrokenBodiesOpen(t *testing.T) {
	for _, end := range []error{io.ErrUnexpectedEOF, io.EOF} {
		b := newBreaker(t, breaker.Policy{FailureRate: 1}, breaker.Options{})
		rt := b.Middleware(nil)(roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: broken{end}}, nil
		}))
		for range 20 {
			resp, err := rt.RoundTrip(get(t.Context()))
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, resp.Body)
			assert.Equal(t, end != io.EOF, err != nil)
			require.NoError(t, resp.Body.Close())
		}
		assert.Equal(t, end != io.EOF, b.State() == breaker.Open, end)
	}
}

func TestResponseWithAnError(t *testing.T) {
	for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{
		"breaker": newBreaker(t, breaker.Policy{}, breaker.Options{}).Middleware(nil),
		"limiter": newLimiter(t, breaker.Limit{InFlight: 1}).Middleware(nil),
	} {
		body := &requestBody{Reader: strings.NewReader("x")}
		resp, err := wrap(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: body}, io.ErrUnexpectedEOF
		})).RoundTrip(get(t.Context()))
		assert.Nil(t, resp, name)
		assert.ErrorIs(t, err, io.ErrUnexpectedEOF, name)
		assert.Equal(t, 1, body.closed, name)
		resp, err = wrap(roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil })).RoundTrip(get(t.Context()))
		assert.Nil(t, resp, name)
		assert.ErrorContains(t, err, "neither a response nor an error", name)
	}
}

func TestLimiterHoldsTheSlotUntilTheBodyEnds(t *testing.T) {
	l := newLimiter(t, breaker.Limit{InFlight: 1})
	rt := l.Middleware(nil)(roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("x")), Request: r}, nil
	}))
	resp, err := rt.RoundTrip(get(t.Context()))
	require.NoError(t, err)
	body := &requestBody{Reader: strings.NewReader("x")}
	_, err = rt.RoundTrip(httptest.NewRequest("POST", "http://reviews/", body))
	_, refused := errors.AsType[*breaker.LimitError](err)
	assert.True(t, refused)
	assert.Equal(t, 1, body.closed)
	require.NoError(t, resp.Body.Close())
	assert.Zero(t, l.Stats().InFlight)
}

func TestObservedLimitKnowsWhatSucceeded(t *testing.T) {
	l := newLimiter(t, breaker.Limit{Mode: outcome.Observe, InFlight: 1})
	held := acquire(t, l)
	for _, code := range []int{200, 503, 404} {
		_, err := l.Middleware(nil)(status(code)).RoundTrip(get(t.Context()))
		require.NoError(t, err)
	}
	held.Release()
	assert.Equal(t, breaker.LimitStats{Peak: 2, WouldRefuse: 3, WouldRefuseSucceeded: 2}, l.Stats())
}
