package tulletest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// connectionRows are the rules about connections, goroutines and concurrency.
func connectionRows() []row[*clientWorld] {
	return []row[*clientWorld]{
		{name: "connections are reused", test: connectionsReused},
		{name: "CloseIdleConnections passes through", test: idleConnectionsClosed},
		{name: "calls may run concurrently", test: concurrentCalls},
		{name: "half-read bodies do not stall other calls", test: halfReadBodies},
		{name: "no goroutine stays behind", test: noGoroutines},
	}
}

// opened returns how many connections to the service were ever opened.
func (w *clientWorld) opened() int {
	return w.network.Opened(serviceAddr) + w.network.Opened(serviceNumeric)
}

// pooled waits until the connection of the first call may be found by the
// second: net/http hands a new HTTP/2 connection to who waits for it before it
// puts it into its pool, so that a quick second call would dial again.
func (w *clientWorld) pooled() { w.settle() }

// open returns how many connections to the service are open.
func (w *clientWorld) open() int {
	return w.network.Open(serviceAddr) + w.network.Open(serviceNumeric)
}

func connectionsReused(t testing.TB, w *clientWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) })
	for i := range w.calls {
		var body io.Reader
		if i%2 == 1 {
			body = strings.NewReader("content")
		}
		resp, err := w.wrapped.RoundTrip(w.request("POST", "/", body))
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if i == 0 {
			w.pooled()
		}
	}
	if n := w.opened(); n != 1 {
		t.Errorf("%d calls, one after the other, opened %d connections", w.calls, n)
	}
}

func idleConnectionsClosed(t testing.TB, w *clientWorld) {
	w.serve(func(http.ResponseWriter, *http.Request) {})
	readAll(t, w.do(w.request("GET", "/", nil)).Body)
	w.settle()
	if n := w.open(); n != 1 {
		t.Errorf("%d connections are open after a call, want 1", n)
	}
	(&http.Client{Transport: w.wrapped}).CloseIdleConnections()
	w.settle()
	if n := w.open(); n != 0 {
		t.Errorf("%d connections are open after CloseIdleConnections", n)
	}
}

func concurrentCalls(t testing.TB, w *clientWorld) {
	all := newMeeting(crowd)
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		if !all.wait(r) {
			t.Errorf("calls wait for each other: a minute has passed without %d being under way", crowd)
		}
		rw.Header().Set("X-Id", r.Header.Get("X-Id"))
		io.Copy(rw, r.Body)
	})
	var callers sync.WaitGroup
	for i := range crowd {
		callers.Go(func() {
			for j := range 4 {
				id := fmt.Sprint(i, "/", j)
				r := w.request("POST", "/", strings.NewReader("body of "+id))
				r.Header.Set("X-Id", id)
				resp, err := w.wrapped.RoundTrip(r)
				if err != nil {
					t.Errorf("call %s: %v", id, err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(b) != "body of "+id || resp.Header.Get("X-Id") != id || resp.Request != r {
					t.Errorf("call %s got the response of %q with body %q, %v", id, resp.Header.Get("X-Id"), b, err)
				}
			}
		})
	}
	callers.Wait()
}

// crowd is how many calls are made at once.
const crowd = 64

// meeting is where a number of requests wait for each other, once.
type meeting struct {
	mu      sync.Mutex
	missing int
	full    chan struct{}
}

func newMeeting(n int) *meeting { return &meeting{missing: n, full: make(chan struct{})} }

// wait reports whether all have come within a minute.
func (m *meeting) wait(r *http.Request) bool {
	m.mu.Lock()
	if m.missing--; m.missing == 0 {
		close(m.full)
	}
	m.mu.Unlock()
	select {
	case <-m.full:
		return true
	case <-r.Context().Done():
		return true
	case <-time.After(time.Minute):
		return false
	}
}

func halfReadBodies(t testing.TB, w *clientWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			io.WriteString(rw, "small")
			return
		}
		io.Copy(rw, endless(transfer))
	})
	slow := []*http.Response{w.do(w.request("GET", "/large", nil)), w.do(w.request("GET", "/large", nil))}
	for _, resp := range slow {
		if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
			t.Fatalf("reading: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if got := readAll(t, w.do(w.requestContext(ctx, "GET", "/small", nil)).Body); got != "small" {
		t.Errorf("the body is %q", got)
	}
	slow[0].Body.Close()
	if n, err := io.Copy(io.Discard, slow[1].Body); n != transfer-1000 || err != nil {
		t.Errorf("the rest of the slow body is %d bytes, %v", n, err)
	}
}

func noGoroutines(t testing.TB, w *clientWorld) {
	w.serve((&Script{Default: Step{Body: "hello", Delay: time.Second, BodyDelay: time.Second}}).ServeHTTP)
	round := func() {
		readAll(t, w.do(w.request("GET", "/", nil)).Body)
		w.do(w.request("GET", "/", nil)).Body.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		w.fail(w.requestContext(ctx, "GET", "/", nil))
		cancel()
		// Whatever ends by itself has time to: a stream that was just cut
		// keeps its connection from being idle.
		time.Sleep(time.Minute)
		(&http.Client{Transport: w.wrapped}).CloseIdleConnections()
		w.base.CloseIdleConnections()
		time.Sleep(time.Minute)
		synctest.Wait()
	}
	round()
	before := len(goroutines(bubbleName()))
	for range 5 {
		round()
	}
	after := goroutines(bubbleName())
	if len(after) > before {
		t.Errorf("%d goroutines before, %d after 15 calls and CloseIdleConnections:\n%s",
			before, len(after), strings.Join(after, "\n"))
	}
}
