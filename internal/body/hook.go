package body

import (
	"io"
	"net/http"
	"sync/atomic"
)

// Ender is told once that a body has ended: with nil when it was read to its
// end or closed before by its reader, else with the error that ended it.
type Ender interface{ BodyEnd(err error) }

// Explainer is an Ender that knows more of an error than the body does. What
// it returns is what the reader gets.
type Explainer interface{ BodyError(err error) error }

// Hook stands between a response body and its reader. It is meant to be a
// field of the object that wants to know the end, so that following a body
// costs no allocation of its own. A Hook is used for one response.
type Hook struct {
	rc    io.ReadCloser
	ender Ender
	ended atomic.Bool
	whole bool
}

// Follow makes resp.Body tell e of its end. A response that cannot have a
// body, to a request of the given method, keeps the body it has and has ended
// before Follow returns; 101 Switching Protocols ends when the connection is
// closed, and its body stays an io.Writer.
func (h *Hook) Follow(resp *http.Response, method string, e Ender) {
	h.rc, h.ender = resp.Body, e
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if _, ok := resp.Body.(io.Writer); ok {
			resp.Body = (*duplex)(h)
			return
		}
	}
	if resp.Body == nil || resp.Body == http.NoBody || empty(resp.StatusCode, method) {
		h.end(nil, true)
		return
	}
	resp.Body = h
}

// empty says which responses have no body whatever their header fields say.
//
// "Any response to a HEAD request and any response with a 1xx
// (Informational), 204 (No Content), or 304 (Not Modified) status code is
// always terminated by the first empty line after the header fields" -
// RFC 9112, 6.3
func empty(status int, method string) bool {
	return method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified ||
		status >= 100 && status < 200 && status != http.StatusSwitchingProtocols
}

// Read implements io.Reader.
func (h *Hook) Read(p []byte) (int, error) {
	n, err := h.rc.Read(p)
	if err == io.EOF {
		h.end(nil, true)
	} else if err != nil {
		if e, ok := h.ender.(Explainer); ok {
			err = e.BodyError(err)
		}
		h.end(err, false)
	}
	return n, err
}

// Close implements io.Closer.
func (h *Hook) Close() error {
	err := h.rc.Close()
	h.end(nil, false)
	return err
}

// Whole tells the Ender, in BodyEnd and after, whether the body was read to its
// end, as that of a response without one is. Only then have all trailers come, and is nobody about to add another.
func (h *Hook) Whole() bool { return h.whole }

func (h *Hook) end(err error, whole bool) {
	// The load spares the usual second call, from Close after the end of the
	// file, a locked instruction.
	if !h.ended.Load() && h.ended.CompareAndSwap(false, true) {
		h.whole = whole
		h.ender.BodyEnd(err)
	}
}

// duplex is the Hook of a switched connection. The end of one direction is
// not the end of the connection, so only Close ends it.
type duplex Hook

func (d *duplex) Read(p []byte) (int, error)  { return d.rc.Read(p) }
func (d *duplex) Write(p []byte) (int, error) { return d.rc.(io.Writer).Write(p) }

func (d *duplex) Close() error {
	err := d.rc.Close()
	(*Hook)(d).end(nil, false)
	return err
}
