package routing

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// editor is a ResponseWriter that edits the header just before it is sent. What
// the writer beneath can do besides, it offers in one of the forms below. Of a
// writer of no known form it offers what [http.ResponseController] finds.
type editor struct {
	http.ResponseWriter
	edit    HeaderEdit
	settled bool // the header has been edited, or is out of our hands
}

// settle edits the header, once.
func (e *editor) settle() {
	if !e.settled {
		e.settled = true
		e.edit.Apply(e.ResponseWriter.Header())
	}
}

func (e *editor) WriteHeader(status int) {
	// 1xx responses but 101 come before the one that is meant.
	if status >= 200 || status == http.StatusSwitchingProtocols {
		e.settle()
	}
	e.ResponseWriter.WriteHeader(status)
}

func (e *editor) Write(p []byte) (int, error) {
	e.settle()
	return e.ResponseWriter.Write(p)
}

// Unwrap is for [http.ResponseController].
func (e *editor) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// The methods below are those of the writer beneath; outfit sees to it that only
// those it has can be called.

func (e *editor) flush() {
	e.settle()
	e.ResponseWriter.(http.Flusher).Flush()
}

func (e *editor) flushError() error {
	e.settle()
	return http.NewResponseController(e.ResponseWriter).Flush()
}

func (e *editor) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := e.ResponseWriter.(http.Hijacker).Hijack()
	if err == nil {
		e.settled = true
	}
	return conn, rw, err
}

func (e *editor) readFrom(r io.Reader) (int64, error) {
	e.settle()
	return e.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
}

func (e *editor) writeString(s string) (int, error) {
	e.settle()
	return e.ResponseWriter.(io.StringWriter).WriteString(s)
}

func (e *editor) push(target string, opts *http.PushOptions) error {
	return e.ResponseWriter.(http.Pusher).Push(target, opts)
}

type flushErrorer interface{ FlushError() error }

// Writers in net/http and httptest come in three forms. Callers ask a writer what
// it can do by type assertion, so a form has exactly these methods.
type (
	// recorder is httptest.ResponseRecorder.
	recorder struct{ *editor }
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

// Other writers are given what they need to flush, so that a controller does not
// go past the editor to what lies beneath.
type (
	// flusher is a writer that is an http.Flusher.
	flusher struct{ controlled }
	// controlled is one that only a controller can flush.
	controlled struct{ *editor }
)

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

// outfit returns e in the form of the writer beneath.
func (e *editor) outfit() http.ResponseWriter {
	w := e.ResponseWriter
	_, flushes := w.(http.Flusher)
	_, flushesWithError := w.(flushErrorer)
	_, writesStrings := w.(io.StringWriter)
	_, hijacks := w.(http.Hijacker)
	_, readsFrom := w.(io.ReaderFrom)
	_, pushes := w.(http.Pusher)
	switch {
	case flushes && flushesWithError && writesStrings && hijacks && readsFrom && !pushes:
		return http1{recorder{e}}
	case flushes && flushesWithError && writesStrings && pushes && !hijacks && !readsFrom:
		return http2{recorder{e}}
	case flushes && writesStrings && !flushesWithError && !hijacks && !readsFrom && !pushes:
		return recorder{e}
	case flushes:
		return flusher{controlled{e}}
	case controllable(w):
		return controlled{e}
	}
	return e
}
