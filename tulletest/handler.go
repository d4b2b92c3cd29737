package tulletest

import (
	"io"
	"net/http"
	"testing"
)

// TestHandler tests whether wrapping an http.Handler changes nothing that the
// handler or its clients may rely on: the contract of http.Handler, and what
// handlers are used to from net/http's own ResponseWriters. Each rule is a
// subtest in a synctest bubble of its own, run over HTTP/1.1, over unencrypted
// HTTP/2 and, where no connection is needed, on an httptest.ResponseRecorder.
//
// The wrap is called anew for each handler. If what it returns is an io.Closer,
// it is closed before its bubble ends; goroutines that are left then are
// failures.
func TestHandler(t *testing.T, wrap func(http.Handler) http.Handler) {
	t.Run("http1", func(t *testing.T) { runHandler(subtests(t), handlerWorld{wrap: wrap}) })
	t.Run("http2", func(t *testing.T) { runHandler(subtests(t), handlerWorld{wrap: wrap, http2: true}) })
}

var handlerRows = []row[*handlerWorld]{
	{name: "nothing written is 200", test: func(t testing.TB, w *handlerWorld) {
		w.serve(func(http.ResponseWriter, *http.Request) {})
		resp := w.do(w.request("GET", "/", nil))
		if body := readAll(t, resp.Body); resp.StatusCode != 200 || body != "" {
			t.Errorf("got %s with body %q", resp.Status, body)
		}
	}},
}

func runHandler(run runner, world handlerWorld) {
	for _, row := range handlerRows {
		run(row.name, func(t testing.TB) {
			w := world
			w.client = clientWorld{t: t, http2: w.http2, wrap: func(rt http.RoundTripper) http.RoundTripper { return rt }}
			row.test(t, &w)
		})
	}
}

// handlerWorld is one wrapped handler in a server and one plain transport.
type handlerWorld struct {
	wrap  func(http.Handler) http.Handler
	http2 bool

	client clientWorld
}

// wrapped returns h wrapped, and has the wrap closed at the end of the row.
func (w *handlerWorld) wrapped(h http.Handler) http.Handler {
	wrapped := w.wrap(h)
	if c, ok := wrapped.(io.Closer); ok {
		w.client.t.Cleanup(func() {
			if err := c.Close(); err != nil {
				w.client.t.Errorf("Close: %v", err)
			}
		})
	}
	return wrapped
}

func (w *handlerWorld) serve(h http.HandlerFunc) {
	w.client.t.Helper()
	w.client.serve(w.wrapped(h).ServeHTTP)
}

func (w *handlerWorld) request(method, path string, body io.Reader) *http.Request {
	w.client.t.Helper()
	return w.client.request(method, path, body)
}

func (w *handlerWorld) do(r *http.Request) *http.Response {
	w.client.t.Helper()
	return w.client.do(r)
}
