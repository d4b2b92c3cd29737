package tulletest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// cancelRows are the rules about calls that end early.
func cancelRows() []row[*clientWorld] {
	return []row[*clientWorld]{
		{name: "ended context is an error", test: contextEndedBefore},
		{name: "cancel ends a waiting call", test: cancelWhileWaiting},
		{name: "deadline ends a waiting call", test: deadlineWhileWaiting},
		{name: "cancel ends the reading of the body", test: cancelWhileReading},
		{name: "deadline ends the reading of the body", test: deadlineWhileReading},
		{name: "closing the body ends its reading", test: closeWhileReading},
		{name: "body outlives RoundTrip", test: bodyOutlivesRoundTrip},
		{name: "cancel after the end does no harm", test: cancelAfterEnd},
		{name: "cancel leaves other calls alone", test: cancelLeavesOthers},
		{name: "client timeout covers the headers", test: clientTimeoutHeader},
		{name: "client timeout covers the body", test: clientTimeoutBody},
		{name: "cancel channel ends a waiting call", test: cancelChannel},
		{name: "cancel channel ends the reading of the body", test: cancelChannelBody},
	}
}

// setCancel sets the old channel that ends a call. It is deprecated, but
// http.Client with a Timeout still uses it.
func setCancel(r *http.Request, c <-chan struct{}) {
	r.Cancel = c //lint:ignore SA1019 wrappers still meet it
}

// wantTimeout checks that callers recognise err as a time-out.
func wantTimeout(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is not context.DeadlineExceeded: %v", err)
	}
	if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
		t.Errorf("the error is not a net.Error with Timeout: %v", err)
	}
}

// wantElapsed checks that virtual time went on by d since start.
func wantElapsed(t testing.TB, start time.Time, d time.Duration) {
	t.Helper()
	if got := time.Since(start); got != d {
		t.Errorf("the call took %v, want %v", got, d)
	}
}

func contextEndedBefore(t testing.TB, w *clientWorld) {
	script := &Script{}
	w.serve(script.ServeHTTP)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.fail(w.requestContext(ctx, "GET", "/", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is not context.Canceled: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), -1)
	defer cancel()
	wantTimeout(t, w.fail(w.requestContext(ctx, "GET", "/", nil)))
	w.settle()
	if n := script.Count(); n > 0 {
		t.Errorf("%d calls arrived whose context had ended", n)
	}
}

// waiting serves calls that are never answered; gone is closed when the server
// learns that its caller left.
func (w *clientWorld) waiting() (gone chan struct{}) {
	gone = make(chan struct{})
	w.serve(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // only then does HTTP/1.1 look for the caller
		<-r.Context().Done()
		close(gone)
	})
	return gone
}

// stalling serves half of a body and no more.
func (w *clientWorld) stalling() (gone chan struct{}) {
	gone = make(chan struct{})
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, "first")
		http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		close(gone)
	})
	return gone
}

// wantGone checks that the server has learnt that its caller left.
func wantGone(t testing.TB, w *clientWorld, gone chan struct{}) {
	t.Helper()
	w.settle()
	select {
	case <-gone:
	default:
		t.Errorf("the server does not learn that the caller has left")
	}
}

func cancelWhileWaiting(t testing.TB, w *clientWorld) {
	gone := w.waiting()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Second, cancel)
	start := time.Now()
	if err := w.fail(w.requestContext(ctx, "GET", "/", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is not context.Canceled: %v", err)
	}
	wantElapsed(t, start, time.Second)
	wantGone(t, w, gone)
}

func deadlineWhileWaiting(t testing.TB, w *clientWorld) {
	gone := w.waiting()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	wantTimeout(t, w.fail(w.requestContext(ctx, "GET", "/", nil)))
	wantElapsed(t, start, time.Second)
	wantGone(t, w, gone)
}

func wantFirst(t testing.TB, body io.Reader) {
	t.Helper()
	b := make([]byte, 5)
	if _, err := io.ReadFull(body, b); err != nil || string(b) != "first" {
		t.Fatalf("the first part of the body is %q, %v", b, err)
	}
}

func cancelWhileReading(t testing.TB, w *clientWorld) {
	gone := w.stalling()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp := w.do(w.requestContext(ctx, "GET", "/", nil))
	wantFirst(t, resp.Body)
	time.AfterFunc(time.Second, cancel)
	if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("reading after the cancel gave %d, %v, want context.Canceled", n, err)
	}
	wantGone(t, w, gone)
}

func deadlineWhileReading(t testing.TB, w *clientWorld) {
	gone := w.stalling()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	resp := w.do(w.requestContext(ctx, "GET", "/", nil))
	wantFirst(t, resp.Body)
	_, err := resp.Body.Read(make([]byte, 1))
	wantTimeout(t, err)
	wantElapsed(t, start, time.Second)
	wantGone(t, w, gone)
}

func closeWhileReading(t testing.TB, w *clientWorld) {
	w.stalling()
	resp := w.do(w.request("GET", "/", nil))
	wantFirst(t, resp.Body)
	read, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := resp.Body.Read(make([]byte, 8))
		read <- err
	}()
	w.settle()
	go func() { closed <- resp.Body.Close() }()
	settleLocks()
	if len(closed) == 0 {
		t.Errorf("Close waits for a Read that is under way")
	}
	if len(read) == 0 {
		t.Errorf("a Read that is under way is not ended by Close")
	}
	// Whoever still waits is let go.
	w.network.Reset(serviceAddr)
	w.network.Reset(serviceNumeric)
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-read; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the Read that Close ended gave %v, want an error of its own", err)
	}
}

func bodyOutlivesRoundTrip(t testing.TB, w *clientWorld) {
	script := &Script{Default: Step{Body: "slow and whole", BodyDelay: 10 * time.Minute}}
	w.serve(script.ServeHTTP)
	resp := w.do(w.request("GET", "/", nil))
	// Whoever bounds a call by a context of its own may end that context only
	// when the body ends, and not on its way.
	if got := readAll(t, resp.Body); got != "slow and whole" {
		t.Errorf("the body is %q", got)
	}
}

func cancelAfterEnd(t testing.TB, w *clientWorld) {
	script := &Script{Default: Step{Body: "whole"}}
	w.serve(script.ServeHTTP)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		resp := w.do(w.requestContext(ctx, "GET", "/", nil))
		if got := readAll(t, resp.Body); got != "whole" {
			t.Errorf("the body is %q", got)
		}
		resp.Body.Close()
		cancel()
		w.settle()
	}
	if n := w.opened(); n != 1 {
		t.Errorf("%d connections were opened, want 1: a cancel after the end closed them", n)
	}
}

func cancelLeavesOthers(t testing.TB, w *clientWorld) {
	script := &Script{
		Steps:   []Step{{Body: "other call", BodyDelay: time.Minute}, {Fault: Hang}},
		Default: Step{Body: "later call"},
	}
	w.serve(script.ServeHTTP)
	other := w.do(w.request("GET", "/", nil))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	w.fail(w.requestContext(ctx, "GET", "/", nil))
	later := w.do(w.request("GET", "/", nil))
	if got := readAll(t, later.Body); got != "later call" {
		t.Errorf("the later call's body is %q", got)
	}
	if got := readAll(t, other.Body); got != "other call" {
		t.Errorf("the other call's body is %q", got)
	}
}

func clientTimeoutHeader(t testing.TB, w *clientWorld) {
	gone := w.waiting()
	client := &http.Client{Transport: w.wrapped, Timeout: time.Second}
	start := time.Now()
	resp, err := client.Get(serviceURL)
	if err == nil {
		resp.Body.Close()
		t.Fatalf("got %s where a time-out was due", resp.Status)
	}
	wantTimeout(t, err)
	if !os.IsTimeout(err) {
		t.Errorf("os.IsTimeout denies %v", err)
	}
	wantElapsed(t, start, time.Second)
	wantGone(t, w, gone)
}

func clientTimeoutBody(t testing.TB, w *clientWorld) {
	gone := w.stalling()
	client := &http.Client{Transport: w.wrapped, Timeout: time.Second}
	start := time.Now()
	resp, err := client.Get(serviceURL)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	defer resp.Body.Close()
	wantFirst(t, resp.Body)
	_, err = resp.Body.Read(make([]byte, 1))
	wantTimeout(t, err)
	wantElapsed(t, start, time.Second)
	wantGone(t, w, gone)
}

func cancelChannel(t testing.TB, w *clientWorld) {
	gone := w.waiting()
	cancel := make(chan struct{})
	r := w.request("POST", "/", strings.NewReader("content"))
	setCancel(r, cancel)
	time.AfterFunc(time.Second, func() { close(cancel) })
	// Whoever drops the channel waits for the server, which never answers.
	watchdog := time.AfterFunc(time.Minute, func() { w.network.Reset(serviceAddr) })
	defer watchdog.Stop()
	start := time.Now()
	w.fail(r)
	wantElapsed(t, start, time.Second)
	wantGone(t, w, gone)
}

func cancelChannelBody(t testing.TB, w *clientWorld) {
	gone := w.stalling()
	cancel := make(chan struct{})
	r := w.request("GET", "/", nil)
	setCancel(r, cancel)
	watchdog := time.AfterFunc(time.Minute, func() { w.network.Reset(serviceAddr) })
	defer watchdog.Stop()
	start := time.Now()
	resp := w.do(r)
	wantFirst(t, resp.Body)
	time.AfterFunc(time.Second, func() { close(cancel) })
	if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("reading after the cancel gave %d, %v", n, err)
	}
	wantElapsed(t, start, time.Second)
	wantGone(t, w, gone)
}
