package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
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

	"github.com/tulle-mesh/tulle/mirror"
	"github.com/tulle-mesh/tulle/tulletest"
)

// shadow receives copies.
type shadow struct {
	mu     sync.Mutex
	got    []*http.Request
	bodies []string
	answer func(*http.Request) (*http.Response, error)
}

func (s *shadow) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		body = string(b)
	}
	s.mu.Lock()
	s.got, s.bodies = append(s.got, r), append(s.bodies, body)
	s.mu.Unlock()
	if s.answer != nil {
		return s.answer(r)
	}
	return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// service reads requests to the end and answers.
func service(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
}

func newMirror(t testing.TB, p mirror.Policy) *mirror.Mirror {
	t.Helper()
	m, err := mirror.New(p, rand.New(rand.NewPCG(1, 2)).Uint64)
	require.NoError(t, err)
	return m
}

func TestCopiesAreWholeAndWithoutCredentials(t *testing.T) {
	opaque := func(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }
	for name, row := range map[string]struct {
		body io.Reader
		keep bool
	}{
		"no body":           {nil, false},
		"known, replayable": {strings.NewReader("some words"), false},
		"unknown length":    {opaque("some words"), false},
		"credentials kept":  {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			m, s := newMirror(t, mirror.Policy{KeepCredentials: row.keep}), &shadow{}
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://reviews/a?b=c", row.body)
			require.NoError(t, err)
			for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie", "X-User"} {
				req.Header.Set(name, "x")
			}
			before := req.Clone(t.Context())
			resp, err := m.Middleware(s)(roundTripper(service)).RoundTrip(req)
			require.NoError(t, err)
			m.Wait()
			assert.Same(t, req, resp.Request)
			assert.Equal(t, before.Header, req.Header)
			require.Len(t, s.got, 1)
			got := s.got[0]
			assert.Equal(t, "/a?b=c", got.URL.RequestURI())
			assert.Equal(t, "x", got.Header.Get("X-User"))
			assert.Equal(t, row.keep, got.Header.Get("Authorization") != "")
			assert.Equal(t, row.keep, got.Header.Get("Cookie") != "")
			if row.body != nil {
				assert.Equal(t, "some words", s.bodies[0])
				assert.EqualValues(t, len("some words"), got.ContentLength)
			}
			assert.Equal(t, mirror.Stats{Sent: 1}, m.Stats())
		})
	}
}

// A copy never holds a request up, whatever becomes of the copy.
func TestCopiesAreDetached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMirror(t, mirror.Policy{MaxInFlight: 2, Timeout: time.Minute})
		var ended atomic.Int64
		s := &shadow{answer: func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			ended.Add(1)
			return nil, context.Cause(r.Context())
		}}
		rt := m.Middleware(s)(roundTripper(service))
		ctx, cancel := context.WithCancel(t.Context())
		begin := time.Now()
		for range 5 {
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://reviews/", nil)
			_, err := rt.RoundTrip(req)
			require.NoError(t, err)
		}
		assert.Zero(t, time.Since(begin), "nobody waited")
		cancel()
		synctest.Wait()
		assert.Zero(t, ended.Load(), "the end of the request is not that of the copy")
		m.Wait()
		assert.Equal(t, time.Minute, time.Since(begin), "a copy has a time of its own")
		assert.Equal(t, mirror.Stats{Sent: 2, Failed: 2, Full: 3}, m.Stats())
	})
}

func TestOnlyAShareIsCopied(t *testing.T) {
	const n, p = 20_000, .05
	m, s := newMirror(t, mirror.Policy{Percent: 100 * p, MaxInFlight: n}), &shadow{}
	rt := m.Middleware(s)(roundTripper(service))
	for range n {
		_, err := rt.RoundTrip(httptest.NewRequest("GET", "http://reviews/", nil))
		require.NoError(t, err)
	}
	m.Wait()
	assert.InDelta(t, n*p, len(s.got), 6*math.Sqrt(n*p*(1-p)))
}

func TestBodiesThatAreNotCopied(t *testing.T) {
	long := strings.Repeat("x", 101)
	half := func(r *http.Request) (*http.Response, error) {
		_, _ = io.ReadFull(r.Body, make([]byte, 5))
		_ = r.Body.Close()
		return &http.Response{StatusCode: 503, Body: http.NoBody}, nil
	}
	for name, row := range map[string]struct {
		max  int64
		body io.Reader
		next roundTripper
	}{
		"too long, known":   {100, strings.NewReader(long), service},
		"too long, unknown": {100, struct{ io.Reader }{strings.NewReader(long)}, service},
		"not read on":       {100, struct{ io.Reader }{strings.NewReader("some words")}, half},
		"broken":            {100, io.MultiReader(strings.NewReader("some"), broken{}), service},
		"none wanted":       {-1, strings.NewReader("x"), service},
	} {
		t.Run(name, func(t *testing.T) {
			m, s := newMirror(t, mirror.Policy{MaxBody: row.max}), &shadow{}
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://reviews/", row.body)
			require.NoError(t, err)
			_, _ = m.Middleware(s)(row.next).RoundTrip(req)
			m.Wait()
			assert.Empty(t, s.got)
			assert.Equal(t, mirror.Stats{Unread: 1}, m.Stats())
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

// What is read of a request is what the caller sends, recorded or not.
func TestRecordedBodyIsTheCallers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		want := make([]byte, rng.IntN(300))
		for i := range want {
			want[i] = byte(rng.Uint32())
		}
		m, s := newMirror(t, mirror.Policy{MaxBody: 200}), &shadow{}
		var got []byte
		next := roundTripper(func(r *http.Request) (*http.Response, error) {
			got, _ = io.ReadAll(r.Body)
			_ = r.Body.Close()
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://reviews/", struct{ io.Reader }{bytes.NewReader(want)})
		require.NoError(t, err)
		if rng.IntN(2) == 0 {
			req.ContentLength = int64(len(want))
		}
		_, err = m.Middleware(s)(next).RoundTrip(req)
		require.NoError(t, err)
		m.Wait()
		require.Equal(t, len(want), len(got))
		require.True(t, bytes.Equal(want, got))
		if len(want) <= 200 {
			require.Equal(t, string(want), s.bodies[0])
		} else {
			require.Empty(t, s.bodies)
		}
	}
}

func TestEveryFaultIsReported(t *testing.T) {
	err := mirror.Policy{Percent: math.NaN(), MaxInFlight: -1, MaxBody: 1 << 40, Timeout: -1}.Validate()
	for _, want := range []string{"percent: NaN", "maxInFlight: -1", "maxBody: ", "timeout: -1ns"} {
		assert.ErrorContains(t, err, want)
	}
	_, err = mirror.New(mirror.Policy{Percent: 101}, nil)
	assert.Error(t, err)
	assert.NoError(t, mirror.Policy{}.Validate())
}

// Requests that are copied keep every contract.
func TestConformance(t *testing.T) {
	tulletest.TestRoundTripper(t, func(next http.RoundTripper) http.RoundTripper {
		m, err := mirror.New(mirror.Policy{MaxBody: 1 << 20}, nil)
		require.NoError(t, err)
		return &closable{m.Middleware(&shadow{})(next), m}
	})
}

type closable struct {
	http.RoundTripper
	mirror *mirror.Mirror
}

func (c *closable) Close() error { c.mirror.Wait(); return nil }

func (c *closable) CloseIdleConnections() {
	c.RoundTripper.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}
