package body_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/internal/body"
)

var errBroken = errors.New("broken")

// ends records how a body ended.
type ends struct {
	hook  body.Hook
	mu    sync.Mutex
	errs  []error
	whole bool
}

func (e *ends) BodyEnd(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.errs = append(e.errs, err)
	e.whole = e.hook.Whole()
}

// stream is a body that counts how often it is closed.
type stream struct {
	io.Reader
	closed int
	err    error // of Close
}

func (s *stream) Close() error {
	s.closed++
	return s.err
}

func follow(b io.ReadCloser, status int, method string) (*http.Response, *ends) {
	resp, e := &http.Response{StatusCode: status, Body: b}, &ends{}
	e.hook.Follow(resp, method, e)
	return resp, e
}

func TestABodyEndsOnce(t *testing.T) {
	for name, c := range map[string]struct {
		reader io.Reader
		use    func(io.ReadCloser)
		want   error
		whole  bool
	}{
		"read to the end":           {strings.NewReader("body"), func(b io.ReadCloser) { _, _ = io.ReadAll(b) }, nil, true},
		"end comes with the data":   {iotest.DataErrReader(strings.NewReader("body")), func(b io.ReadCloser) { _, _ = io.ReadAll(b) }, nil, true},
		"read, then closed":         {strings.NewReader("body"), func(b io.ReadCloser) { _, _ = io.ReadAll(b); _ = b.Close() }, nil, true},
		"closed unread":             {strings.NewReader("body"), func(b io.ReadCloser) { _ = b.Close() }, nil, false},
		"closed half read":          {strings.NewReader("body"), func(b io.ReadCloser) { _, _ = b.Read(make([]byte, 2)); _ = b.Close() }, nil, false},
		"closed twice":              {strings.NewReader("body"), func(b io.ReadCloser) { _ = b.Close(); _ = b.Close() }, nil, false},
		"broken":                    {iotest.ErrReader(errBroken), func(b io.ReadCloser) { _, _ = b.Read(nil) }, errBroken, false},
		"broken, then closed":       {iotest.ErrReader(errBroken), func(b io.ReadCloser) { _, _ = b.Read(nil); _ = b.Close() }, errBroken, false},
		"broken in the middle":      {io.MultiReader(strings.NewReader("bo"), iotest.ErrReader(io.ErrUnexpectedEOF)), func(b io.ReadCloser) { _, _ = io.ReadAll(b) }, io.ErrUnexpectedEOF, false},
		"read on after the end":     {strings.NewReader("body"), func(b io.ReadCloser) { _, _ = io.ReadAll(b); _, _ = b.Read(make([]byte, 1)) }, nil, true},
		"broken after it was ended": {io.MultiReader(strings.NewReader(""), iotest.ErrReader(errBroken)), func(b io.ReadCloser) { _ = b.Close(); _, _ = b.Read(make([]byte, 1)) }, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			resp, e := follow(io.NopCloser(c.reader), 200, http.MethodGet)
			require.Empty(t, e.errs, "not before it is used")
			c.use(resp.Body)
			require.Equal(t, []error{c.want}, e.errs)
			require.Equal(t, c.whole, e.whole)
		})
	}
}

func TestReadersSeeTheBodyAsItIs(t *testing.T) {
	s := &stream{Reader: strings.NewReader("body"), err: errBroken}
	resp, _ := follow(s, 200, http.MethodGet)
	require.NoError(t, iotest.TestReader(resp.Body, []byte("body")))
	require.Equal(t, errBroken, resp.Body.Close())
	require.Equal(t, 1, s.closed)
}

func TestResponsesWithoutBodyEndAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		method string
		body   io.ReadCloser
	}{
		"NoBody": {200, http.MethodGet, http.NoBody},
		"nil":    {200, http.MethodGet, nil},
		"HEAD":   {200, http.MethodHead, &stream{Reader: strings.NewReader("")}},
		"204":    {204, http.MethodGet, &stream{Reader: strings.NewReader("")}},
		"304":    {304, http.MethodGet, &stream{Reader: strings.NewReader("")}},
		"103":    {103, http.MethodGet, &stream{Reader: strings.NewReader("")}},
	} {
		resp, e := follow(c.body, c.status, c.method)
		assert.Equal(t, []error{nil}, e.errs, name)
		assert.Equal(t, c.body, resp.Body, "%s: the body stays itself", name)
		assert.True(t, e.whole, "%s: there is no more of it", name)
	}
}

// conn is the body of a response that switched protocols.
type conn struct {
	stream
	written strings.Builder
}

func (c *conn) Write(p []byte) (int, error) { return c.written.Write(p) }

func TestASwitchedConnectionEndsWhenClosed(t *testing.T) {
	c := &conn{stream: stream{Reader: strings.NewReader("hello")}}
	resp, e := follow(c, http.StatusSwitchingProtocols, http.MethodGet)
	rwc, ok := resp.Body.(io.ReadWriteCloser)
	require.True(t, ok)
	_, err := rwc.Write([]byte("hi"))
	require.NoError(t, err)
	require.Equal(t, "hi", c.written.String())
	got, err := io.ReadAll(rwc)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
	require.Empty(t, e.errs, "the other direction is still open")
	require.NoError(t, rwc.Close())
	require.NoError(t, rwc.Close())
	require.Equal(t, []error{nil}, e.errs)
}

func TestASwitchedConnectionThatCannotWriteIsABody(t *testing.T) {
	resp, e := follow(io.NopCloser(strings.NewReader("")), http.StatusSwitchingProtocols, http.MethodGet)
	_, isWriter := resp.Body.(io.Writer)
	require.False(t, isWriter, "nothing is promised that cannot be kept")
	_, _ = io.ReadAll(resp.Body)
	require.Len(t, e.errs, 1)
}

func TestReadAndCloseAtOnce(t *testing.T) {
	for range 100 {
		pr, pw := io.Pipe()
		resp, e := follow(pr, 200, http.MethodGet)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.ReadAll(resp.Body) })
		wg.Go(func() { _ = pw.CloseWithError(errBroken) })
		wg.Go(func() { _ = resp.Body.Close() })
		wg.Wait()
		require.Len(t, e.errs, 1)
	}
}

func TestDiscard(t *testing.T) {
	body.Discard(nil)
	body.Discard(http.NoBody)
	for size, want := range map[int]int{
		0:         0,
		1000:      1000,
		64 << 10:  64 << 10,
		100 << 20: 64<<10 + 1,
	} {
		r := &countingReader{left: size}
		s := &stream{Reader: r}
		body.Discard(s)
		require.Equal(t, 1, s.closed, "%d bytes", size)
		require.Equal(t, want, r.read, "%d bytes: read to the end, or not much further than the limit", size)
		require.Equal(t, size <= 64<<10, r.ended, "%d bytes: only a body at its end leaves the connection usable", size)
	}
	s := &stream{Reader: iotest.ErrReader(errBroken)}
	body.Discard(s)
	require.Equal(t, 1, s.closed)
}

type countingReader struct {
	left, read int
	ended      bool
}

func (r *countingReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		r.ended = true
		return 0, io.EOF
	}
	n := min(len(p), r.left)
	r.left -= n
	r.read += n
	return n, nil
}

func TestDiscardGivesUpASlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		resp, e := follow(pr, 200, http.MethodGet)
		begin := time.Now()
		body.Discard(resp.Body)
		require.Equal(t, 50*time.Millisecond, time.Since(begin))
		_, err := pw.Write([]byte("x"))
		require.ErrorIs(t, err, io.ErrClosedPipe)
		require.Len(t, e.errs, 1)
	})
}
