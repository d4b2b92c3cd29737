package retry_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/retry"
)

var errReset = errors.New("connection reset")

// result is how one attempt of a tryer goes.
type result struct {
	prepare error // of Prepare, at which the attempt ends
	status  int
	header  http.Header
	err     error
	unsent  bool
	delay   time.Duration
	read    int // bytes of the request body, -1 for all
}

// tryer makes attempts as they are written down and holds the loop to the
// contract of Tryer: a Try is sent or released, a response is only given up
// when the next attempt is ready.
type tryer struct {
	t       testing.TB
	results []result

	prepared []time.Time // when each attempt was asked for
	sent     []time.Time
	bodies   []string // what was read of each request body
	released int
	open     atomic.Int32 // response bodies not closed
	openAt   []int32      // open when each attempt was asked for
	ended    atomic.Int32 // attempts sent whose context has ended
}

func (t *tryer) Prepare(ctx context.Context, n int) (retry.Try, error) {
	t.prepared = append(t.prepared, time.Now())
	t.openAt = append(t.openAt, t.open.Load())
	require.Len(t.t, t.prepared, n, "attempts are numbered in order")
	require.LessOrEqual(t.t, n, len(t.results), "one attempt more than expected")
	r := t.results[n-1]
	return &try{tryer: t, result: r}, r.prepare
}

// calls returns how many attempts were sent.
func (t *tryer) calls() int { return len(t.sent) }

type try struct {
	*tryer
	result
	used bool
}

func (a *try) use() {
	require.False(a.t, a.used, "a Try is sent or released, once")
	a.used = true
}

func (a *try) Release() {
	a.use()
	a.released++
}

func (a *try) Send(ctx context.Context, b retry.Body) (*http.Response, outcome.Outcome, error) {
	a.use()
	require.Zero(a.t, a.open.Load(), "the response before is closed")
	a.sent = append(a.sent, time.Now())
	context.AfterFunc(ctx, func() { a.ended.Add(1) })
	if b.Reader != nil {
		defer func() { _ = b.Reader.Close() }()
		n := int64(a.read)
		if n < 0 {
			n = 1 << 40
		}
		got, _ := io.ReadAll(io.LimitReader(b.Reader, n))
		a.bodies = append(a.bodies, string(got))
	}
	resp, err := (*http.Response)(nil), a.err
	select {
	case <-time.After(a.delay):
	case <-ctx.Done():
		err = retry.Cause(ctx, context.Cause(ctx))
	}
	if err == nil {
		resp = &http.Response{StatusCode: a.status, Header: a.header, Body: &responseBody{Reader: strings.NewReader("body"), open: &a.open}}
		a.open.Add(1)
	}
	if a.unsent {
		err = &outcome.UnsentError{Err: err}
	}
	return resp, outcome.HTTP{}.Classify(resp, err), err
}

// responseBody counts as open until it is closed.
type responseBody struct {
	io.Reader
	open   *atomic.Int32
	closed atomic.Bool
}

func (b *responseBody) Close() error {
	if b.closed.CompareAndSwap(false, true) {
		b.open.Add(-1)
	}
	return nil
}

// requestBody is a request body that counts how often it is closed.
type requestBody struct {
	io.Reader
	closed atomic.Int32
}

func (b *requestBody) Close() error {
	b.closed.Add(1)
	return nil
}

func newLoop(t testing.TB, o retry.Options) *retry.Loop {
	t.Helper()
	loop, err := retry.New(o)
	require.NoError(t, err)
	return loop
}

func newRequest(t testing.TB, method string, body io.Reader) *http.Request {
	t.Helper()
	in, err := http.NewRequestWithContext(t.Context(), method, "http://service.test/", body)
	require.NoError(t, err)
	return in
}
