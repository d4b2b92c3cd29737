package respwriter_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/internal/respwriter"
	"github.com/tulle-mesh/tulle/tulletest"
)

// watched is what an owner of a Writer sees.
type watched struct {
	respwriter.Writer
	told   int
	status int
}

func (o *watched) BeforeHeader(h http.Header, status int) {
	o.told++
	o.status = status
	h.Set("X-Last-Minute", "yes")
}

func watch(next http.Handler, done func(*watched)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := &watched{}
		next.ServeHTTP(o.Wrap(w, o), r)
		o.Finish()
		if done != nil {
			done(o)
		}
	})
}

// Wrapping changes nothing, once and twice.
func TestConformance(t *testing.T) {
	plain := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			o := &watched{}
			next.ServeHTTP(o.Wrap(w, nil), r)
			o.Finish()
		})
	}
	t.Run("once", func(t *testing.T) { tulletest.TestHandler(t, plain) })
	t.Run("twice", func(t *testing.T) {
		tulletest.TestHandler(t, func(next http.Handler) http.Handler { return plain(plain(next)) })
	})
}

// Whatever the handler does, the hook is told once and in time, and the counts
// are those of the client.
func TestCounts(t *testing.T) {
	for name, row := range map[string]struct {
		handler http.HandlerFunc
		status  int
		bytes   int64
	}{
		"nothing":     {func(http.ResponseWriter, *http.Request) {}, 200, 0},
		"status":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, 404, 0},
		"body":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("abc")) }, 200, 3},
		"empty write": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) }, 200, 0},
		"text": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(201)
			_, _ = io.WriteString(w, "abcd")
			_, _ = io.WriteString(w, "ef")
		}, 201, 6},
		"copy": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 5000))})
		}, 200, 5000},
		"flush": {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, 200, 0},
		"controlled flush": {func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "a")
		}, 200, 1},
		"early hints": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		}, 418, 0},
		"superfluous": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			w.WriteHeader(200)
		}, 500, 0},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				done := make(chan watched, 1)
				server := httptest.NewUnstartedServer(watch(row.handler, func(o *watched) { done <- *o }))
				server.EnableHTTP2 = http2
				server.Config.ErrorLog = quiet()
				server.StartTLS()
				defer server.Close()
				resp, err := server.Client().Get(server.URL)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				o := <-done
				assert.Equal(t, row.status, resp.StatusCode)
				assert.Equal(t, row.status, o.Status())
				assert.Equal(t, row.status, o.status, "what the hook was told")
				assert.Equal(t, 1, o.told)
				assert.EqualValues(t, len(body), o.Bytes())
				assert.Equal(t, row.bytes, o.Bytes())
				assert.Equal(t, "yes", resp.Header.Get("X-Last-Minute"), "the hook came too late")
				assert.False(t, o.Hijacked())
			})
		}
	}
}

// An empty reader sends nothing, so the status can still be chosen.
func TestStatusAfterAnEmptyCopy(t *testing.T) {
	done := make(chan watched, 1)
	server := httptest.NewServer(watch(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader(""))
		assert.NoError(t, err)
		w.WriteHeader(http.StatusTeapot)
	}), func(o *watched) { done <- *o }))
	defer server.Close()
	resp, err := http.Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	o := <-done
	assert.Equal(t, http.StatusTeapot, resp.StatusCode)
	assert.Equal(t, http.StatusTeapot, o.Status())
}

func TestTakenConnectionIsNotAResponse(t *testing.T) {
	done := make(chan watched, 1)
	server := httptest.NewServer(watch(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		_, err = w.Write([]byte("x"))
		assert.ErrorIs(t, err, http.ErrHijacked)
		_, _ = io.WriteString(conn, "HTTP/1.1 299 Own\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_ = conn.Close()
	}), func(o *watched) { done <- *o }))
	defer server.Close()
	resp, err := http.Get(server.URL)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	o := <-done
	assert.Equal(t, 299, resp.StatusCode)
	assert.True(t, o.Hijacked())
	assert.Zero(t, o.told)
	assert.Zero(t, o.Status())
	assert.Zero(t, o.Bytes())
}

// A failed Hijack leaves the response to the handler.
func TestFailedHijack(t *testing.T) {
	rec := &stubborn{ResponseRecorder: httptest.NewRecorder()}
	var o watched
	w := o.Wrap(rec, &o)
	_, _, err := w.(http.Hijacker).Hijack()
	assert.ErrorIs(t, err, http.ErrNotSupported)
	w.WriteHeader(201)
	assert.Equal(t, 201, rec.Code)
	assert.Equal(t, 1, o.told)
	assert.True(t, o.Settled())
}

// stubborn has the methods of the writer of HTTP/1.
type stubborn struct{ *httptest.ResponseRecorder }

func (*stubborn) FlushError() error { return nil }
func (*stubborn) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrNotSupported
}
func (s *stubborn) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s.ResponseRecorder}, r)
}
