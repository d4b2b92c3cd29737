package tulletest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// writerRows are the rules about the http.ResponseWriter a handler is given.
func writerRows() []row[*handlerWorld] {
	return []row[*handlerWorld]{
		{name: "writer has the interfaces of the inner one", test: writerInterfaces},
		{name: "flushed event arrives at once", test: flushArrives},
		{name: "failing flush is an error", test: flushFails},
		{name: "hijacked connection is the handler's", only: http1, test: hijackedConnection},
		{name: "reader is copied into the response", test: readFrom},
		{name: "push is the server's", only: http2, test: push},
		{name: "deadlines reach the connection", test: deadlines},
		{name: "full duplex reaches the connection", test: fullDuplex},
		{name: "forbidden writes are errors", test: forbiddenWrites},
	}
}

// errorFlusher is the interface http.ResponseController prefers to http.Flusher.
type errorFlusher interface{ FlushError() error }

// closeNotifier is http.CloseNotifier, which is deprecated.
type closeNotifier interface{ CloseNotify() <-chan bool }

// optionalInterfaces names the interfaces a ResponseWriter may have.
func optionalInterfaces() []struct {
	name string
	in   func(http.ResponseWriter) bool
} {
	return []struct {
		name string
		in   func(http.ResponseWriter) bool
	}{
		{"http.Flusher", has[http.Flusher]},
		{"FlushError", has[errorFlusher]},
		{"http.Hijacker", has[http.Hijacker]},
		{"http.Pusher", has[http.Pusher]},
		{"io.ReaderFrom", has[io.ReaderFrom]},
		{"io.StringWriter", has[io.StringWriter]},
	}
}

func has[I any](w http.ResponseWriter) bool {
	_, ok := w.(I)
	return ok
}

// interfacesOf returns the names of w's optional interfaces.
func interfacesOf(w http.ResponseWriter) []string {
	var names []string
	for _, o := range optionalInterfaces() {
		if o.in(w) {
			names = append(names, o.name)
		}
	}
	return names
}

// wantInterfaces compares what a handler's writer claims with what the writer
// below the wrap can do.
func wantInterfaces(t testing.TB, below, given http.ResponseWriter) {
	t.Helper()
	want, got := interfacesOf(below), interfacesOf(given)
	if !slices.Equal(got, want) {
		t.Errorf("over a %T the handler's writer has %v, want %v", below, got, want)
	}
	// http.CloseNotifier is deprecated: it may be hidden, but not made up.
	if has[closeNotifier](given) && !has[closeNotifier](below) {
		t.Errorf("over a %T the handler's writer claims to be an http.CloseNotifier", below)
	}
}

func writerInterfaces(t testing.TB, w *handlerWorld) {
	var below, given http.ResponseWriter
	w.serveInside(
		http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { given = rw }),
		func(wrapped http.Handler, rw http.ResponseWriter, r *http.Request) {
			below = rw
			wrapped.ServeHTTP(rw, r)
			wantInterfaces(t, below, given)
		})
	w.do(w.request("GET", "/", nil))
	if given == nil {
		t.Errorf("the handler was not called")
	}
}

func flushArrives(t testing.TB, w *handlerWorld) {
	flushes := []func(http.ResponseWriter) error{
		func(rw http.ResponseWriter) error { return http.NewResponseController(rw).Flush() },
		func(rw http.ResponseWriter) error {
			if f, ok := rw.(http.Flusher); ok {
				f.Flush()
				return nil
			}
			return errors.ErrUnsupported
		},
	}
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for _, flush := range flushes {
			io.WriteString(rw, "data: now\n\n")
			if err := flush(rw); err != nil {
				t.Errorf("flushing: %v", err)
			}
			if !pause(r, time.Hour) {
				return
			}
		}
	})
	start := time.Now()
	resp := w.do(w.request("GET", "/", nil))
	for i := range flushes {
		b := make([]byte, len("data: now\n\n"))
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			t.Fatalf("reading: %v", err)
		}
		if got, want := time.Since(start), time.Duration(i)*time.Hour; got != want {
			t.Errorf("event %d arrived after %v, want %v", i, got, want)
		}
	}
}

func flushFails(t testing.TB, w *handlerWorld) {
	errs := make(chan error, 2)
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, "first")
		http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		for range cap(errs) {
			io.WriteString(rw, "into the void")
			errs <- http.NewResponseController(rw).Flush()
		}
	})
	wantFirst(t, w.do(w.request("GET", "/", nil)).Body)
	w.network.Reset(serviceAddr)
	w.settle()
	for i := range cap(errs) {
		if err := <-errs; err == nil {
			t.Errorf("flush %d after the connection's end gave no error", i)
		}
	}
}

func hijackedConnection(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) {
		h, ok := rw.(http.Hijacker)
		if !ok {
			t.Errorf("the writer is not an http.Hijacker")
			return
		}
		conn, buffered, err := h.Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
			return
		}
		defer conn.Close()
		if _, err := rw.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("writing after Hijack gave %v, want http.ErrHijacked", err)
		}
		io.WriteString(conn, "own protocol\n")
		io.Copy(conn, buffered)
	})
	conn, err := w.network.DialContext(t.Context(), "tcp", serviceAddr)
	if err != nil {
		t.Fatalf("dialling: %v", err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: service.test\r\n\r\nearly ")
	time.Sleep(time.Hour)
	io.WriteString(conn, "late")
	conn.(interface{ CloseWrite() error }).CloseWrite()
	if got, want := readAll(t, conn), "own protocol\nearly late"; got != want {
		t.Errorf("the connection says %q, want %q", got, want)
	}
}

func readFrom(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(http.StatusAccepted)
		if n, err := io.Copy(rw, endless(1<<20)); n != 1<<20 || err != nil {
			t.Errorf("copied %d bytes, %v", n, err)
		}
		if n, err := io.WriteString(rw, "end"); n != 3 || err != nil {
			t.Errorf("WriteString gave %d, %v", n, err)
		}
	})
	resp := w.do(w.request("GET", "/", nil))
	body := readAll(t, resp.Body)
	if resp.StatusCode != http.StatusAccepted || len(body) != 1<<20+3 || !strings.HasSuffix(body, "xend") {
		t.Errorf("got %s with %d bytes, want 202 with %d", resp.Status, len(body), 1<<20+3)
	}
}

func push(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) {
		p, ok := rw.(http.Pusher)
		if !ok {
			t.Errorf("the writer is not an http.Pusher")
			return
		}
		// net/http's client refuses pushes, and the server knows.
		if err := p.Push("/pushed", nil); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Push gave %v, want http.ErrNotSupported", err)
		}
	})
	w.do(w.request("GET", "/", nil))
}

func deadlines(t testing.TB, w *handlerWorld) {
	read, wrote := make(chan error, 1), make(chan error, 1)
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(rw)
		if r.URL.Path == "/read" {
			if err := control.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				t.Errorf("SetReadDeadline: %v", err)
			}
			_, err := io.ReadAll(r.Body)
			read <- err
			return
		}
		if err := control.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Errorf("SetWriteDeadline: %v", err)
		}
		_, err := io.Copy(rw, endless(transfer))
		wrote <- err
	})
	deadline := func(what string, got <-chan error) {
		t.Helper()
		select {
		case err := <-got:
			if err == nil {
				t.Errorf("the %s deadline did not end the %s", what, what)
			}
			if what == "read" && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("reading gave %v, want os.ErrDeadlineExceeded", err)
			}
		case <-time.After(time.Minute):
			t.Errorf("the %s deadline has passed without effect", what)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	body := newStuckUpload(strings.NewReader("never more than this"))
	called := make(chan struct{})
	go func() {
		defer close(called)
		if resp, err := w.roundTrip(w.requestContext(ctx, "POST", "/read", body)); err == nil {
			resp.Body.Close()
		}
	}()
	deadline("read", read)
	cancel()
	body.Close()
	<-called
	w.do(w.request("GET", "/write", nil))
	deadline("write", wrote)
}

func fullDuplex(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(rw)
		if err := control.EnableFullDuplex(); err != nil {
			t.Errorf("EnableFullDuplex: %v", err)
			return
		}
		b := make([]byte, 4)
		for range 2 {
			control.Flush()
			if _, err := io.ReadFull(r.Body, b); err != nil {
				t.Errorf("reading after the response has begun: %v", err)
				return
			}
			rw.Write(b)
		}
	})
	pr, pw := io.Pipe()
	defer pw.Close()
	// Without full duplex the server reads to the end before it answers.
	time.AfterFunc(time.Minute, func() { pw.Close() })
	resp := w.do(w.request("POST", "/", pr))
	for _, message := range []string{"ping", "pong"} {
		io.WriteString(pw, message)
		b := make([]byte, 4)
		if message == "pong" {
			pw.Close()
		}
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != message {
			t.Fatalf("the echo of %q is %q, %v", message, b, err)
		}
	}
}

func forbiddenWrites(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/204" {
			rw.WriteHeader(http.StatusNoContent)
			if _, err := rw.Write([]byte("body")); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("writing the body of a 204 gave %v, want http.ErrBodyNotAllowed", err)
			}
			return
		}
		rw.Header().Set("Content-Length", "4")
		if n, err := io.WriteString(rw, "body"); n != 4 || err != nil {
			t.Errorf("writing gave %d, %v", n, err)
		}
		// Over HTTP/2 net/http cuts the excess off when it is sent.
		if _, err := io.WriteString(rw, "more"); r.ProtoMajor == 1 && !errors.Is(err, http.ErrContentLength) {
			t.Errorf("writing beyond the declared length gave %v, want http.ErrContentLength", err)
		}
	})
	w.do(w.request("GET", "/204", nil))
	if b, err := io.ReadAll(w.do(w.request("GET", "/", nil)).Body); string(b) != "body" || err != nil && !w.http2 {
		t.Errorf("the body is %q, %v", b, err)
	}
}

// bareWriter has nothing but what http.ResponseWriter asks for.
type bareWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *bareWriter) Header() http.Header         { return b.header }
func (b *bareWriter) Write(p []byte) (int, error) { return b.body.Write(p) }
func (b *bareWriter) WriteHeader(status int)      { b.status = status }

// flushingWriter is the writer of some middleware: it can flush, and leads to
// one that can do more.
type flushingWriter struct {
	bareWriter
	flushes int
	inner   *controlledWriter
}

func (f *flushingWriter) Flush()                      { f.flushes++ }
func (f *flushingWriter) Unwrap() http.ResponseWriter { return f.inner }

// controlledWriter has what http.ResponseController looks for.
type controlledWriter struct {
	bareWriter
	flushed  error
	deadline time.Time
}

func (c *controlledWriter) Flush()            {}
func (c *controlledWriter) FlushError() error { return c.flushed }
func (c *controlledWriter) SetReadDeadline(t time.Time) error {
	c.deadline = t
	return nil
}
