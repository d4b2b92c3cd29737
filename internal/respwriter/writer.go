package respwriter

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// Hook is told once that the header is about to be sent, with the status; what
// it then changes in h is sent too. Responses from 100 to 199 other than 101
// come before the one that is meant, and are not reported. It is not told if
// the handler takes over the connection before.
type Hook interface {
	BeforeHeader(h http.Header, status int)
}

// Taker is a Hook that is told when the handler has taken over the connection.
type Taker interface {
	TakenOver()
}

// Writer stands between a handler and its http.ResponseWriter. It is meant to
// be a field of the object that wants to know, so that watching a response
// costs no allocation of its own. A Writer is used for one response, and like
// other writers by one goroutine at a time.
type Writer struct {
	rw       http.ResponseWriter
	hook     Hook
	bytes    int64
	status   int
	settled  bool // the hook has been told, or never will be
	hijacked bool
}

// Wrap returns the writer for the handler. For the writers of net/http and
// httptest, and those that Wrap has returned, it has exactly the methods of
// rw that callers ask for by type assertion (FlushError, and those of
// http.Flusher, http.Hijacker, http.Pusher, io.ReaderFrom and
// io.StringWriter). For any other it can flush if rw can, and then hijack if rw
// can, and leads to rw by Unwrap. A nil hook is told nothing.
func (w *Writer) Wrap(rw http.ResponseWriter, hook Hook) http.ResponseWriter {
	*w = Writer{rw: rw, hook: hook}
	return w.outfit()
}

// Finish is to be called when the handler has returned, and before that
// returns to net/http: it tells the hook of a response that the handler has
// left empty. After a panic it is not called, for no such response is sent.
func (w *Writer) Finish() {
	if !w.hijacked {
		w.settle(http.StatusOK)
	}
}

// Status returns the status of the response, 0 while none is chosen, after a
// panic before that, and for a connection that the handler has taken over
// without one.
func (w *Writer) Status() int { return w.status }

// Bytes returns how many bytes of the body the writer below has taken. To HEAD
// net/http takes them and sends none.
func (w *Writer) Bytes() int64 { return w.bytes }

// Hijacked reports whether the handler has taken over the connection.
func (w *Writer) Hijacked() bool { return w.hijacked }

// Settled reports whether it is too late to change the header.
func (w *Writer) Settled() bool { return w.settled }

func (w *Writer) settle(status int) {
	if w.status == 0 {
		w.status = status
	}
	if w.settled {
		return
	}
	w.settled = true
	if w.hook != nil {
		w.hook.BeforeHeader(w.rw.Header(), status)
	}
}

// Header implements http.ResponseWriter.
func (w *Writer) Header() http.Header { return w.rw.Header() }

// WriteHeader implements http.ResponseWriter.
func (w *Writer) WriteHeader(status int) {
	// For what has not three digits net/http panics, and nothing is sent.
	if !w.hijacked && (status >= 200 && status <= 999 || status == http.StatusSwitchingProtocols) {
		w.settle(status)
	}
	w.rw.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *Writer) Write(p []byte) (int, error) {
	w.begin()
	n, err := w.rw.Write(p)
	w.bytes += int64(n)
	return n, err
}

// begin is what comes before a body.
func (w *Writer) begin() {
	if !w.hijacked {
		w.settle(http.StatusOK)
	}
}

// Unwrap is for http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter { return w.rw }

// The methods below are those of the writer beneath; outfit sees to it that
// only those it has can be called.

func (w *Writer) flush() {
	w.begin()
	w.rw.(http.Flusher).Flush()
}

func (w *Writer) flushError() error {
	w.begin()
	return http.NewResponseController(w.rw).Flush()
}

func (w *Writer) hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := w.rw.(http.Hijacker).Hijack()
	if err == nil {
		w.hijacked, w.settled = true, true
		if t, ok := w.hook.(Taker); ok {
			t.TakenOver()
		}
	}
	return conn, rw, err
}

func (w *Writer) readFrom(r io.Reader) (int64, error) {
	chosen := w.status
	w.begin()
	n, err := w.rw.(io.ReaderFrom).ReadFrom(r)
	if n == 0 {
		// Of an empty reader net/http writes nothing, not even the header, so
		// the status is still the handler's to choose.
		w.status = chosen
	}
	w.bytes += n
	return n, err
}

func (w *Writer) writeString(s string) (int, error) {
	w.begin()
	n, err := w.rw.(io.StringWriter).WriteString(s)
	w.bytes += int64(n)
	return n, err
}

func (w *Writer) push(target string, opts *http.PushOptions) error {
	return w.rw.(http.Pusher).Push(target, opts)
}
