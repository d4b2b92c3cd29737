package tulletest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// bodyRows are the rules about the request's body.
func bodyRows() []row[*clientWorld] {
	return []row[*clientWorld]{
		{name: "body is closed after a response", test: bodyClosedOnSuccess},
		{name: "body is closed after a refused connection", test: bodyClosedOnRefusal},
		{name: "body is closed after a reset", test: bodyClosedOnReset},
		{name: "body is closed if the context has ended before", test: bodyClosedWhenDone},
		{name: "body is closed after a cancelled call", test: bodyClosedOnCancel},
		{name: "body is closed after an early response", test: bodyClosedOnEarlyResponse},
		{name: "known length stays known", test: knownLength},
		{name: "unknown length stays unknown", test: unknownLength},
		{name: "empty and absent bodies are kept apart", test: emptyBodies},
		{name: "body is sent while it is produced", test: requestStreams},
		{name: "body is not read ahead", test: requestNotBuffered},
		{name: "large body arrives whole", test: largeRequest},
		{name: "failing body never looks whole", test: failingBody},
		{name: "form arrives", test: formArrives},
		{name: "refused expectation keeps the body", test: expectRefused},
		{name: "granted expectation sends the body", test: expectGranted},
	}
}

// wantClosed checks that body was closed, and not read thereafter unless
// somebody may still have been reading it when the call ended.
func wantClosed(t testing.TB, w *clientWorld, body *upload, concurrent bool) {
	t.Helper()
	w.settle()
	_, _, closes, late := body.seen()
	if closes == 0 {
		t.Errorf("the request's body was not closed")
	}
	if late > 0 && !concurrent {
		t.Errorf("the request's body was read %d times after Close", late)
	}
}

func bodyClosedOnSuccess(t testing.TB, w *clientWorld) {
	script := &Script{}
	w.serve(script.ServeHTTP)
	body := newUpload(strings.NewReader("content"))
	w.do(w.request("POST", "/", body))
	wantClosed(t, w, body, false)
	if got := string(script.Received()[0].Body); got != "content" {
		t.Errorf("the body arrived as %q", got)
	}
}

func bodyClosedOnRefusal(t testing.TB, w *clientWorld) {
	w.serve(func(http.ResponseWriter, *http.Request) {})
	w.refuse()
	body := newUpload(strings.NewReader("content"))
	w.fail(w.request("POST", "/", body))
	wantClosed(t, w, body, false)
}

func bodyClosedOnReset(t testing.TB, w *clientWorld) {
	script := &Script{Default: Step{Fault: ResetHeader}}
	w.serve(script.ServeHTTP)
	body := newUpload(strings.NewReader("content"))
	w.fail(w.request("POST", "/", body))
	wantClosed(t, w, body, true)
}

func bodyClosedWhenDone(t testing.TB, w *clientWorld) {
	w.serve(func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := newUpload(strings.NewReader("content"))
	w.fail(w.requestContext(ctx, "POST", "/", body))
	wantClosed(t, w, body, true)
}

func bodyClosedOnCancel(t testing.TB, w *clientWorld) {
	script := &Script{Default: Step{Fault: Hang, KeepBody: true}}
	w.serve(script.ServeHTTP)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	body := newUpload(endless(transfer))
	w.fail(w.requestContext(ctx, "POST", "/", body))
	wantClosed(t, w, body, true)
}

func bodyClosedOnEarlyResponse(t testing.TB, w *clientWorld) {
	script := &Script{Default: Step{Status: http.StatusInternalServerError, KeepBody: true, Body: "no"}}
	if !w.http2 {
		// Else net/http's server reads on before it answers.
		script.Default.Header = http.Header{"Connection": {"close"}}
	}
	w.serve(script.ServeHTTP)
	body := newStuckUpload(endless(1 << 20))
	resp := w.do(w.request("POST", "/", body))
	if got := readAll(t, resp.Body); resp.StatusCode != 500 || got != "no" {
		t.Errorf("got %s with body %q", resp.Status, got)
	}
	resp.Body.Close()
	wantClosed(t, w, body, true)
}

func knownLength(t testing.TB, w *clientWorld) {
	var length int64
	var encoding []string
	w.serve(func(_ http.ResponseWriter, r *http.Request) {
		length, encoding = r.ContentLength, r.TransferEncoding
	})
	want := func(kind string) {
		t.Helper()
		if length != 7 || len(encoding) > 0 {
			t.Errorf("%s: length %d and transfer encoding %q arrived, want 7 and none", kind, length, encoding)
		}
	}
	w.do(w.request("POST", "/", bytes.NewReader([]byte("content"))))
	want("a body net/http knows")
	r := w.request("POST", "/", newUpload(strings.NewReader("content")))
	r.ContentLength = 7
	w.do(r)
	want("a body of a type of its own")
}

func unknownLength(t testing.TB, w *clientWorld) {
	var length int64
	var encoding []string
	var got string
	w.serve(func(_ http.ResponseWriter, r *http.Request) {
		length, encoding = r.ContentLength, r.TransferEncoding
		got = readAll(t, r.Body)
	})
	r := w.request("POST", "/", newUpload(strings.NewReader("content")))
	r.ContentLength = -1
	w.do(r)
	if length != -1 || got != "content" {
		t.Errorf("length %d and body %q arrived, want -1 and the content", length, got)
	}
	if !w.http2 && (len(encoding) != 1 || encoding[0] != "chunked") {
		t.Errorf("transfer encoding %q arrived, want chunked", encoding)
	}
}

func emptyBodies(t testing.TB, w *clientWorld) {
	var seen []received
	w.serve(func(_ http.ResponseWriter, r *http.Request) {
		seen = append(seen, received{r.ContentLength, r.Header.Get("Content-Length"), r.Body == http.NoBody})
	})
	for _, method := range []string{"GET", "POST", "DELETE"} {
		for name, body := range map[string]func() io.ReadCloser{
			"nil":    func() io.ReadCloser { return nil },
			"NoBody": func() io.ReadCloser { return http.NoBody },
			"empty":  func() io.ReadCloser { return io.NopCloser(strings.NewReader("")) },
		} {
			seen = nil
			for _, rt := range []http.RoundTripper{w.base, w.wrapped} {
				r := w.request(method, "/", nil)
				r.Body = body()
				resp, err := rt.RoundTrip(r)
				if err != nil {
					t.Fatalf("%s with %s body: %v", method, name, err)
				}
				resp.Body.Close()
			}
			if len(seen) != 2 || seen[0] != seen[1] {
				t.Errorf("%s with %s body: without and with the wrap arrived %+v", method, name, seen)
			}
		}
	}
}

// received is what a server learns of a body before it reads it.
type received struct {
	length int64
	header string
	absent bool
}

func requestStreams(t testing.TB, w *clientWorld) {
	arrived := make(chan string, 2)
	w.serve(func(_ http.ResponseWriter, r *http.Request) {
		for range 2 {
			b := make([]byte, 5)
			if _, err := io.ReadFull(r.Body, b); err != nil {
				return
			}
			arrived <- string(b)
		}
	})
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := w.roundTrip(w.request("POST", "/", pr))
		if err != nil {
			t.Errorf("RoundTrip: %v", err)
			return
		}
		resp.Body.Close()
	}()
	for _, part := range []string{"first", "later"} {
		io.WriteString(pw, part)
		select {
		case got := <-arrived:
			if got != part {
				t.Errorf("%q arrived for %q", got, part)
			}
		case <-time.After(time.Minute):
			t.Errorf("%q has not arrived while the body is open", part)
		}
	}
	pw.Close()
	<-done
}

// unread bounds what transports, connections and windows may hold of a body
// that nobody reads at the other end; transfers below are larger.
const (
	unread   = 5 << 20
	transfer = 6 << 20
)

func requestNotBuffered(t testing.TB, w *clientWorld) {
	release := make(chan struct{})
	w.serve(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
			return
		}
		io.Copy(io.Discard, r.Body)
	})
	body := newUpload(endless(transfer))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := w.roundTrip(w.request("POST", "/", body)); err == nil {
			resp.Body.Close()
		}
	}()
	w.settle()
	if n, _, _, _ := body.seen(); n > unread {
		t.Errorf("%d bytes of the body were read although the server has read none", n)
	}
	close(release)
	<-done
}

func largeRequest(t testing.TB, w *clientWorld) {
	var got int64
	w.serve(func(_ http.ResponseWriter, r *http.Request) { got, _ = io.Copy(io.Discard, r.Body) })
	w.do(w.request("POST", "/", newUpload(endless(transfer))))
	if got != transfer {
		t.Errorf("%d bytes arrived of %d", got, int64(transfer))
	}
}

func failingBody(t testing.TB, w *clientWorld) {
	ends := make(chan error, 16)
	w.serve(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		ends <- err
	})
	broken := errors.New("the body broke")
	for _, length := range []int64{-1, 100} {
		body := newUpload(io.MultiReader(strings.NewReader("content"), iotest.ErrReader(broken)))
		r := w.request("POST", "/", body)
		r.ContentLength = length
		resp, err := w.roundTrip(r)
		if err == nil {
			t.Errorf("length %d: the call gave %s although its body had failed", length, resp.Status)
			resp.Body.Close()
		} else if !errors.Is(err, broken) {
			t.Errorf("length %d: the error does not tell how the body failed: %v", length, err)
		}
		wantClosed(t, w, body, true)
		for range len(ends) {
			if <-ends == nil {
				t.Errorf("length %d: to the server the body that failed looked whole", length)
			}
		}
	}
}

func formArrives(t testing.TB, w *clientWorld) {
	const form, contentType = "a=1&b=x+y%2Fz&a=2&c=", "application/x-www-form-urlencoded"
	script := &Script{}
	w.serve(script.ServeHTTP)
	for _, method := range []string{"POST", "PUT", "PATCH"} {
		r := w.request(method, "/?a=0", strings.NewReader(form))
		r.Header.Set("Content-Type", contentType)
		if resp, err := w.roundTrip(r); err != nil {
			t.Errorf("%s of a form: %v", method, err)
		} else {
			resp.Body.Close()
		}
	}
	for _, got := range script.Received() {
		if string(got.Body) != form || got.Length != int64(len(form)) || got.Header.Get("Content-Type") != contentType {
			t.Errorf("%s of a form arrived as %q of length %d, type %q",
				got.Method, got.Body, got.Length, got.Header.Get("Content-Type"))
		}
	}
}

func expectRefused(t testing.TB, w *clientWorld) {
	script := &Script{Default: Step{Status: http.StatusExpectationFailed, KeepBody: true}}
	w.serve(script.ServeHTTP)
	body := newUpload(strings.NewReader("content"))
	r := w.request("POST", "/", body)
	r.ContentLength = 7
	r.Header.Set("Expect", "100-continue")
	resp := w.do(r)
	if resp.StatusCode != http.StatusExpectationFailed {
		t.Errorf("got %s", resp.Status)
	}
	resp.Body.Close()
	w.settle()
	if n, _, _, _ := body.seen(); n > 0 {
		t.Errorf("%d bytes of the body were read although the server refused it", n)
	}
	wantClosed(t, w, body, false)
}

func expectGranted(t testing.TB, w *clientWorld) {
	script := &Script{}
	w.serve(script.ServeHTTP)
	granted := false
	r := w.request("POST", "/", strings.NewReader("content"))
	r.Header.Set("Expect", "100-continue")
	start := time.Now()
	w.do(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got100Continue: func() { granted = true },
	})))
	if got := string(script.Received()[0].Body); got != "content" || !granted {
		t.Errorf("the body arrived as %q, 100 Continue seen: %v", got, granted)
	}
	if d := time.Since(start); d > 0 {
		t.Errorf("the body was held back for %v", d)
	}
}
