package tulletest

import (
	"io"
	"net/http"
	"slices"
	"testing"
)

// TestHandler tests whether wrapping an http.Handler changes nothing that the
// handler or its clients may rely on: the contract of http.Handler, and what
// handlers are used to from net/http's own ResponseWriters. Each rule is a
// subtest in a synctest bubble of its own, run over HTTP/1.1 and over
// unencrypted HTTP/2; those that need no connection run on
// httptest.ResponseRecorder and other writers.
//
// The wrap is called anew for each handler. If what it returns is an io.Closer,
// it is closed before its bubble ends; goroutines that are left then are
// failures.
//
// The known differences are those that the wrap is meant to make. It must make
// them as they are described, and no others.
func TestHandler(t *testing.T, wrap func(http.Handler) http.Handler, known ...Difference) {
	world := handlerWorld{wrap: wrap, known: known}
	t.Run("http1", func(t *testing.T) { runHandler(subtests(t), http1, world) })
	t.Run("http2", func(t *testing.T) { runHandler(subtests(t), http2, world) })
	t.Run("recorder", func(t *testing.T) { runHandler(subtests(t), anyProtocol, world) })
}

func handlerRows() []row[*handlerWorld] {
	return concat(writerRows(), handledRequestRows(), formRows(), handlerResponseRows(), handlerBytesRows())
}

// runHandler runs the rows of one protocol or, with anyProtocol, those that
// need no connection.
func runHandler(run runner, p protocol, world handlerWorld) {
	rows := handlerRows()
	if p == anyProtocol {
		rows = recorderRows()
	}
	for _, row := range rows {
		if row.only != anyProtocol && row.only != p {
			continue
		}
		run(row.name, func(t testing.TB) {
			w := world
			w.clientWorld = clientWorld{t: t, http2: p == http2}
			w.clientWorld.wrap = func(rt http.RoundTripper) http.RoundTripper { return rt }
			row.test(t, &w)
		})
	}
}

// handlerWorld is one wrapped handler in a server, and one plain transport.
type handlerWorld struct {
	clientWorld
	wrap  func(http.Handler) http.Handler
	known []Difference
}

// differs reports whether a difference is meant.
func (w *handlerWorld) differs(d Difference) bool { return slices.Contains(w.known, d) }

// wrapped returns h wrapped, and has the wrap closed at the end of the row.
func (w *handlerWorld) wrapped(h http.Handler) http.Handler {
	wrapped := w.wrap(h)
	if c, ok := wrapped.(io.Closer); ok {
		w.t.Cleanup(func() {
			if err := c.Close(); err != nil {
				w.t.Errorf("Close: %v", err)
			}
		})
	}
	return wrapped
}

// serve starts a server with h wrapped.
func (w *handlerWorld) serve(h http.HandlerFunc) {
	w.t.Helper()
	w.clientWorld.serve(w.wrapped(h).ServeHTTP)
}

// serveInside starts a server with h wrapped, within outer, which is given the
// wrapped handler.
func (w *handlerWorld) serveInside(h http.Handler, outer func(wrapped http.Handler, rw http.ResponseWriter, r *http.Request)) {
	w.t.Helper()
	wrapped := w.wrapped(h)
	w.clientWorld.serve(func(rw http.ResponseWriter, r *http.Request) { outer(wrapped, rw, r) })
}

// plainAddr is where the bare handler listens beside the wrapped one.
const plainAddr = "plain.test:80"

// serveBoth starts servers with h bare and with h wrapped.
func (w *handlerWorld) serveBoth(h http.Handler) {
	w.t.Helper()
	wrapped := w.wrapped(h)
	w.listen(func(n *Network) {
		n.Serve(w.t, plainAddr, h)
		n.Serve(w.t, serviceAddr, wrapped)
	})
}
