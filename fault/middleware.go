package fault

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Middleware wraps a RoundTripper; nil is http.DefaultTransport.
func (i *Injector) Middleware(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{i, next}
}

type transport struct {
	injector *Injector
	next     http.RoundTripper
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.injector.RoundTrip(t.next, r)
}

func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// RoundTrip carries r to next unless it is aborted, after its delay.
func (i *Injector) RoundTrip(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	abort, err := i.Inject(r.Context(), r)
	if err == nil && abort == nil {
		return next.RoundTrip(r)
	}
	if r.Body != nil {
		_ = r.Body.Close() // there is a better error, or an answer
	}
	if err != nil {
		return nil, err
	}
	return abort.Response(r)
}

// Response returns what a client gets in answer to r: a response, whose body
// says what it is, or ErrReset. It does not touch r.
func (a *Abort) Response(r *http.Request) (*http.Response, error) {
	if a.Reset {
		return nil, ErrReset
	}
	resp := &http.Response{
		Status:     strings.TrimSpace(strconv.Itoa(a.Status) + " " + http.StatusText(a.Status)),
		StatusCode: a.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, Request: r,
	}
	if !bodiless(a.Status) {
		resp.Header.Set("Content-Type", "text/plain; charset=utf-8")
		resp.Header.Set("Content-Length", strconv.Itoa(len(text)))
		resp.ContentLength = int64(len(text))
		if r.Method != http.MethodHead {
			resp.Body = io.NopCloser(strings.NewReader(text))
		}
	}
	return resp, nil
}

const text = "an injected fault\n"

func bodiless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusResetContent || status == http.StatusNotModified
}

// Handler wraps an http.Handler.
func (i *Injector) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		abort, err := i.Inject(r.Context(), r)
		switch {
		case err != nil || abort != nil && abort.Reset:
			// The caller has gone, or is to see a broken connection.
			panic(http.ErrAbortHandler)
		case abort == nil:
			next.ServeHTTP(w, r)
		case bodiless(abort.Status):
			w.WriteHeader(abort.Status)
		default:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Content-Length", strconv.Itoa(len(text)))
			w.WriteHeader(abort.Status)
			if r.Method != http.MethodHead {
				_, _ = io.WriteString(w, text) // an error means that the client has gone
			}
		}
	})
}
