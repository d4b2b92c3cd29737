//go:build !race

package tulletest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle/internal/form"
)

// around makes a wrap of a function that calls next.
func around(serve func(next http.Handler, rw http.ResponseWriter, r *http.Request)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { serve(next, rw, r) })
	}
}

// withRequest makes a wrap that spoils a copy of the request.
func withRequest(change func(rw http.ResponseWriter, r *http.Request) *http.Request) func(http.Handler) http.Handler {
	return around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		through := change(rw, r.WithContext(r.Context()))
		defer form.RemoveFiles(r, through)
		next.ServeHTTP(rw, through)
	})
}

// withHeader makes a wrap that calls change before the response's header is
// written, and leaves net/http's writers all else.
func withHeader(change func(h http.Header)) func(http.Handler) http.Handler {
	return around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(disguise(rw, &headerWriter{ResponseWriter: rw, change: change}), r)
	})
}

// headerWriter changes the header once.
type headerWriter struct {
	http.ResponseWriter
	change  func(h http.Header)
	changed bool
}

func (h *headerWriter) WriteHeader(status int) {
	if !h.changed && status >= 200 {
		h.changed = true
		h.change(h.Header())
	}
	h.ResponseWriter.WriteHeader(status)
}

func (h *headerWriter) Write(p []byte) (int, error) {
	if !h.changed {
		h.changed = true
		h.change(h.Header())
	}
	return h.ResponseWriter.Write(p)
}

func (h *headerWriter) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// disguise gives outer the interfaces of inner, one of net/http's writers.
func disguise(inner, outer http.ResponseWriter) http.ResponseWriter {
	type unwrapper interface {
		http.ResponseWriter
		Unwrap() http.ResponseWriter
	}
	o, ok := outer.(unwrapper)
	if !ok {
		return outer
	}
	str := stringWriter{o}
	switch inner := inner.(type) {
	case interface {
		http.Flusher
		errorFlusher
		http.Hijacker
		io.ReaderFrom
	}:
		return struct {
			unwrapper
			http.Flusher
			errorFlusher
			http.Hijacker
			io.ReaderFrom
			io.StringWriter
		}{o, inner, inner, inner, readerFrom{o}, str}
	case interface {
		http.Flusher
		errorFlusher
		http.Pusher
	}:
		return struct {
			unwrapper
			http.Flusher
			errorFlusher
			http.Pusher
			io.StringWriter
		}{o, inner, inner, inner, str}
	case interface {
		http.Flusher
		errorFlusher
	}:
		return struct {
			unwrapper
			http.Flusher
			errorFlusher
		}{o, inner, inner}
	case *httptest.ResponseRecorder:
		return struct {
			unwrapper
			http.Flusher
			io.StringWriter
		}{o, inner, str}
	case http.Flusher:
		return struct {
			unwrapper
			http.Flusher
		}{o, inner}
	}
	return outer
}

type stringWriter struct{ io.Writer }

func (s stringWriter) WriteString(p string) (int, error) { return s.Write([]byte(p)) }

type readerFrom struct{ io.Writer }

func (r readerFrom) ReadFrom(from io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{r.Writer}, from)
}

// The writers below each lack something, or have too much.

type onlyUnwrap struct{ http.ResponseWriter }

func (o onlyUnwrap) Unwrap() http.ResponseWriter { return o.ResponseWriter }

type onlyFlush struct{ onlyUnwrap }

func (o onlyFlush) Flush() { http.NewResponseController(o.ResponseWriter).Flush() }

type boaster struct{ onlyFlush }

func (b boaster) FlushError() error { return http.NewResponseController(b.ResponseWriter).Flush() }
func (b boaster) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(b.ResponseWriter).Hijack()
}
func (b boaster) Push(string, *http.PushOptions) error { return http.ErrNotSupported }
func (b boaster) ReadFrom(r io.Reader) (int64, error)  { return io.Copy(b.ResponseWriter, r) }
func (b boaster) WriteString(s string) (int, error)    { return io.WriteString(b.ResponseWriter, s) }

type deafWriter struct{ http.ResponseWriter }

func (d deafWriter) Write(p []byte) (int, error) {
	d.ResponseWriter.Write(p)
	return len(p), nil
}
func (d deafWriter) Unwrap() http.ResponseWriter { return d.ResponseWriter }

type lastStatus struct {
	http.ResponseWriter
	status int
}

func (l *lastStatus) WriteHeader(status int) { l.status = status }
func (l *lastStatus) Write(p []byte) (int, error) {
	if l.status != 0 {
		l.ResponseWriter.WriteHeader(l.status)
		l.status = 0
	}
	return l.ResponseWriter.Write(p)
}
func (l *lastStatus) Unwrap() http.ResponseWriter { return l.ResponseWriter }

var brokenHandlers = []struct {
	name string
	wrap func(http.Handler) http.Handler
}{
	{"hides all of the writer", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(struct{ http.ResponseWriter }{rw}, r)
	})},
	{"hides all but Unwrap", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(onlyUnwrap{rw}, r)
	})},
	{"flushes without an error", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(onlyFlush{onlyUnwrap{rw}}, r)
	})},
	{"claims everything", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(boaster{onlyFlush{onlyUnwrap{rw}}}, r)
	})},
	{"hides errors of Write", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(disguise(rw, deafWriter{rw}), r)
	})},
	{"sends the last status", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		l := &lastStatus{ResponseWriter: rw}
		next.ServeHTTP(disguise(rw, l), r)
		if l.status != 0 {
			rw.WriteHeader(l.status)
		}
	})},
	{"collects the response", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		maps.Copy(rw.Header(), rec.Header())
		rw.WriteHeader(rec.Code)
		rw.Write(rec.Body.Bytes())
	})},
	{"is an http.TimeoutHandler", func(next http.Handler) http.Handler {
		return http.TimeoutHandler(next, time.Minute, "")
	}},
	{"turns panics into 500", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				rw.WriteHeader(500)
			}
		}()
		next.ServeHTTP(rw, r)
	})},
	{"swallows only http.ErrAbortHandler", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				panic(v)
			}
		}()
		next.ServeHTTP(rw, r)
	})},
	{"answers before it panics on", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				rw.WriteHeader(500)
				http.NewResponseController(rw).Flush()
				panic(v)
			}
		}()
		next.ServeHTTP(rw, r)
	})},
	{"panics with a value of its own", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				panic(errors.New("the handler panicked"))
			}
		}()
		next.ServeHTTP(rw, r)
	})},
	{"reads the body into memory", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		if r.Body != http.NoBody {
			b, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(b))
		}
		return r
	})},
	{"consumes the body", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		io.Copy(io.Discard, r.Body)
		return r
	})},
	{"caps the body", withRequest(func(rw http.ResponseWriter, r *http.Request) *http.Request {
		r.Body = http.MaxBytesReader(rw, r.Body, 1<<19)
		return r
	})},
	{"looks into the body", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		b := make([]byte, 1)
		n, _ := r.Body.Read(b)
		r.Body = readCloser{io.MultiReader(bytes.NewReader(b[:n]), r.Body), r.Body.Close}
		return r
	})},
	{"forgets the files of forms", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(rw, r.WithContext(r.Context()))
	})},
	{"removes the files of others", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		through := r.WithContext(r.Context())
		defer func() {
			if through.MultipartForm != nil {
				_ = through.MultipartForm.RemoveAll()
			}
		}()
		next.ServeHTTP(rw, through)
	})},
	{"parses the form", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		r.ParseForm()
		return r
	})},
	{"reads the form's body", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		r.WithContext(r.Context()).ParseForm()
		next.ServeHTTP(rw, r)
	})},
	{"answers OPTIONS", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		if r.Method == "OPTIONS" {
			rw.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(rw, r)
	})},
	{"answers for the whole server", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "*" {
			rw.WriteHeader(http.StatusOK)
			return
		}
		next.ServeHTTP(rw, r)
	})},
	{"clones the trailer", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		r.Trailer = r.Trailer.Clone()
		return r
	})},
	{"changes the server's request", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		r.Header.Set("X-Request-Id", "1")
		next.ServeHTTP(rw, r)
	})},
	{"changes the method", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		if r.Method == "HEAD" {
			r.Method = "GET"
		}
		return r
	})},
	{"cleans the path", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		u := *r.URL
		u.RawPath = ""
		r.URL = &u
		r.RequestURI = u.RequestURI()
		return r
	})},
	{"starts with a new context", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		return r.WithContext(context.Background())
	})},
	{"outlasts the client", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Minute)
		context.AfterFunc(ctx, cancel)
		return r.WithContext(ctx)
	})},
	{"makes a new request", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		n := &http.Request{Method: r.Method, URL: r.URL, Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor,
			Header: r.Header, Body: r.Body, ContentLength: r.ContentLength, TransferEncoding: r.TransferEncoding,
			Close: r.Close, Host: r.Host, Trailer: r.Trailer, RequestURI: r.RequestURI}
		return n.WithContext(r.Context())
	})},
	{"rewrites the remote address", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		r.RemoteAddr = "unknown"
		return r
	})},
	{"handles one request after the other", func(next http.Handler) http.Handler {
		var turn sync.Mutex
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			for !turn.TryLock() {
				<-time.After(time.Second) // a Mutex would keep the bubble's clock from moving
			}
			defer turn.Unlock()
			next.ServeHTTP(rw, r)
		})
	}},
	{"leaves a goroutine behind", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(rw, r)
		if r.Context().Err() != nil {
			go func() { select {} }()
		}
	})},
	{"closes connections", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Connection", "close")
		next.ServeHTTP(rw, r)
	})},
	{"adds a response header", withHeader(func(h http.Header) { h.Set("X-Added", "1") })},
	{"drops the length", withHeader(func(h http.Header) { h.Del("Content-Length") })},
	{"drops trailers", withHeader(func(h http.Header) { h.Del("Trailer") })},
	{"weakens entity tags", withHeader(func(h http.Header) {
		if tag := h.Get("Etag"); tag != "" {
			h.Set("Etag", "W/"+tag)
		}
	})},
	{"refuses ranges", withRequest(func(_ http.ResponseWriter, r *http.Request) *http.Request {
		if r.Header.Get("Range") == "" {
			return r
		}
		r.Header = r.Header.Clone()
		r.Header.Del("Range")
		return r
	})},
	{"says 200 at once", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(200)
		next.ServeHTTP(rw, r)
	})},
	{"says 204 for nothing", around(func(next http.Handler, rw http.ResponseWriter, r *http.Request) {
		wrote := &headerWriter{ResponseWriter: rw, change: func(http.Header) {}}
		next.ServeHTTP(disguise(rw, wrote), r)
		if !wrote.changed && r.Context().Err() == nil && !strings.Contains(r.Header.Get("Upgrade"), "echo") {
			rw.WriteHeader(204)
		}
	})},
}

func TestBrokenHandlers(t *testing.T) {
	unfailed := handlerProtocols()
	for _, b := range brokenHandlers {
		t.Run(b.name, func(t *testing.T) {
			judgeHandler(t, b.wrap).check(t, brokenHandlerRows[b.name], handlerProtocols(), unfailed)
		})
	}
	assert.Empty(t, slices.Sorted(maps.Keys(unfailed)), "rows that nothing fails")
	assert.Len(t, brokenHandlerRows, len(brokenHandlers))
}

// handlerProtocols tells where each row for handlers runs.
func handlerProtocols() map[string][]string {
	m := protocolsOf(handlerRows())
	for _, r := range recorderRows() {
		m[r.name] = []string{"recorder"}
	}
	return m
}
