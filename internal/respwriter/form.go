package respwriter

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

type flushErrorer interface{ FlushError() error }

// Writers in net/http and httptest come in three forms. Callers ask a writer
// what it can do by type assertion, so a form has exactly these methods. Each
// is one pointer, so that making it an interface does not allocate.
type (
	// recorder is httptest.ResponseRecorder.
	recorder struct{ *Writer }
	// http1 is the writer of HTTP/1.
	http1 struct{ recorder }
	// http2 is the writer of HTTP/2.
	http2 struct{ recorder }
)

func (w recorder) Flush()                                 { w.flush() }
func (w recorder) WriteString(s string) (int, error)      { return w.writeString(s) }
func (w http1) FlushError() error                         { return w.flushError() }
func (w http1) ReadFrom(r io.Reader) (int64, error)       { return w.readFrom(r) }
func (w http2) FlushError() error                         { return w.flushError() }
func (w http2) Push(to string, o *http.PushOptions) error { return w.push(to, o) }

func (w http1) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

// Other writers are given what they need to flush and to hijack, so that a
// controller does not go past the Writer to what lies beneath.
type (
	// hijacker is a flusher that is an http.Hijacker as well, as most writers
	// of middleware for HTTP/1 are.
	hijacker struct{ flusher }
	// flusher is a writer that is an http.Flusher.
	flusher struct{ controlled }
	// controlled is one that only a controller can flush.
	controlled struct{ *Writer }
)

func (w hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

func (w flusher) Flush()               { w.flush() }
func (w controlled) FlushError() error { return w.flushError() }

// controllable reports whether a controller can flush w.
func controllable(w http.ResponseWriter) bool {
	for {
		switch inner := w.(type) {
		case http.Flusher, flushErrorer:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = inner.Unwrap()
		default:
			return false
		}
	}
}

// outfit returns w in the form of the writer beneath.
func (w *Writer) outfit() http.ResponseWriter {
	_, flushes := w.rw.(http.Flusher)
	_, flushesWithError := w.rw.(flushErrorer)
	_, writesStrings := w.rw.(io.StringWriter)
	_, hijacks := w.rw.(http.Hijacker)
	_, readsFrom := w.rw.(io.ReaderFrom)
	_, pushes := w.rw.(http.Pusher)
	switch {
	case flushes && flushesWithError && writesStrings && hijacks && readsFrom && !pushes:
		return http1{recorder{w}}
	case flushes && flushesWithError && writesStrings && pushes && !hijacks && !readsFrom:
		return http2{recorder{w}}
	case flushes && writesStrings && !flushesWithError && !hijacks && !readsFrom && !pushes:
		return recorder{w}
	case flushes && hijacks:
		return hijacker{flusher{controlled{w}}}
	case flushes:
		return flusher{controlled{w}}
	case controllable(w.rw):
		return controlled{w}
	}
	return w
}
