package tulletest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// handledRequestRows are the rules about the request a handler is given.
func handledRequestRows() []row[*handlerWorld] {
	return []row[*handlerWorld]{
		{name: "request is not changed", test: handledRequestUnchanged},
		{name: "body arrives whole", test: handledBody},
		{name: "form is the handler's to read", test: handledForm},
		{name: "OPTIONS is the handler's to answer", test: handledOptions},
		{name: "body is received while it is produced", test: handledBodyStreams},
		{name: "body is not read ahead", test: handledBodyNotBuffered},
		{name: "refused expectation keeps the body", test: handledExpectation},
		{name: "size limit is the handler's", test: handledLimit},
		{name: "request trailers arrive", test: handledTrailers},
		{name: "pattern and path values arrive", test: handledPattern},
		{name: "context and addresses arrive", test: handledContext},
		{name: "leaving client ends the context", test: handledDisconnect},
		{name: "connections are reused", test: handledReuse},
		{name: "requests may be handled concurrently", test: handledConcurrently},
		{name: "no goroutine stays behind", test: handledGoroutines},
	}
}

func handledRequestUnchanged(t testing.TB, w *handlerWorld) {
	w.serveInside(
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }),
		func(wrapped http.Handler, rw http.ResponseWriter, r *http.Request) {
			r.Trailer = nil // net/http itself fills it in
			before := newSnapshot(r)
			wrapped.ServeHTTP(rw, r)
			for _, c := range before.changes(r) {
				t.Errorf("after ServeHTTP, %s", c)
			}
		})
	r := w.request("POST", "/path?q=1", strings.NewReader("content"))
	r.Header["X-Several"] = []string{"1", "2"}
	w.do(r)
}

func handledBody(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(rw, "declared %d, read %d, %v, closed %v", r.ContentLength, n, err, r.Body.Close())
	})
	for _, declared := range []int64{1 << 20, -1} {
		r := w.request("POST", "/", endless(1<<20))
		r.ContentLength = declared
		want := fmt.Sprintf("declared %d, read %d, <nil>, closed <nil>", declared, 1<<20)
		if got := readAll(t, w.do(r).Body); got != want {
			t.Errorf("the handler saw: %s; want: %s", got, want)
		}
	}
	if got, want := readAll(t, w.do(w.request("GET", "/", nil)).Body), "declared 0, read 0, <nil>, closed <nil>"; got != want {
		t.Errorf("without a body the handler saw: %s; want: %s", got, want)
	}
}

func handledForm(t testing.TB, w *handlerWorld) {
	const form = "a=1&b=x+y%2Fz&a=2&c="
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/raw" {
			b, err := io.ReadAll(r.Body)
			fmt.Fprintf(rw, "%s, %v", b, err)
			return
		}
		err := r.ParseForm()
		fmt.Fprintf(rw, "%s, %s, %v", r.PostForm.Encode(), r.Form.Encode(), err)
	})
	for _, method := range []string{"POST", "PUT", "PATCH"} {
		for path, want := range map[string]string{
			"/raw":    form + ", <nil>",
			"/parsed": "a=1&a=2&b=x+y%2Fz&c=, a=1&a=2&a=0&b=x+y%2Fz&c=, <nil>",
		} {
			r := w.request(method, path+"?a=0", strings.NewReader(form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if got := readAll(t, w.do(r).Body); got != want {
				t.Errorf("%s of a form to %s: the handler saw %s; want %s", method, path, got, want)
			}
		}
	}
}

func handledOptions(t testing.TB, w *handlerWorld) {
	wrapped := w.wrapped(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Allow", "OPTIONS, BREW")
		rw.WriteHeader(http.StatusTeapot)
		fmt.Fprint(rw, r.Method, " ", r.RequestURI)
	}))
	w.listen(func(n *Network) {
		// Else net/http itself answers those for "*".
		n.Serve(t, serviceAddr, wrapped, func(s *http.Server) { s.DisableGeneralOptionsHandler = true })
	})
	preflight := w.request("OPTIONS", "/preflight", nil)
	preflight.Header.Set("Origin", "http://elsewhere.test")
	preflight.Header.Set("Access-Control-Request-Method", "PUT")
	server := w.request("OPTIONS", "/", nil)
	server.URL = &url.URL{Scheme: "http", Host: "service.test", Opaque: "*"}
	for target, r := range map[string]*http.Request{
		"/": w.request("OPTIONS", "/", nil), "/preflight": preflight, "*": server,
	} {
		resp := w.do(r)
		got := readAll(t, resp.Body)
		if target == "/preflight" && w.differs(PreflightsAnswered) {
			if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent || got != "" {
				t.Errorf("a preflight got %s with %q, want 200 or 204 and nothing", resp.Status, got)
			}
			continue
		}
		if resp.StatusCode != http.StatusTeapot || got != "OPTIONS "+target || resp.Header.Get("Allow") != "OPTIONS, BREW" {
			t.Errorf("OPTIONS for %s got %s with %q, not the handler's answer", target, resp.Status, got)
		}
	}
}

func handledBodyStreams(t testing.TB, w *handlerWorld) {
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
		if resp, err := w.roundTrip(w.request("POST", "/", pr)); err == nil {
			resp.Body.Close()
		}
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

func handledBodyNotBuffered(t testing.TB, w *handlerWorld) {
	release := make(chan struct{})
	w.serve(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
			return
		}
		if n, err := io.Copy(io.Discard, r.Body); n != transfer || err != nil {
			t.Errorf("the handler read %d bytes, %v", n, err)
		}
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
		t.Errorf("%d bytes of the body were sent although the handler has read none", n)
	}
	close(release)
	<-done
}

func handledExpectation(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			rw.WriteHeader(http.StatusExpectationFailed)
			return
		}
		io.Copy(rw, r.Body)
	})
	for path, want := range map[string]int64{"/refused": 0, "/granted": 7} {
		body := newUpload(strings.NewReader("content"))
		r := w.request("POST", path, body)
		r.ContentLength = 7
		r.Header.Set("Expect", "100-continue")
		readAll(t, w.do(r).Body)
		w.settle()
		if n, _, _, _ := body.seen(); n != want {
			t.Errorf("%s: %d bytes of the body were sent, want %d", path, n, want)
		}
	}
}

func handledLimit(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, 10))
		if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); !ok || tooLarge.Limit != 10 {
			t.Errorf("reading beyond the limit gave %v, want *http.MaxBytesError", err)
		}
		rw.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	resp := w.do(w.request("POST", "/", strings.NewReader("more than ten bytes")))
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %s, want 413", resp.Status)
	}
}

func handledTrailers(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		_, declared := r.Trailer["X-Sum"]
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(rw, declared, r.Trailer.Get("X-Sum"))
	})
	r := w.request("POST", "/", newUpload(strings.NewReader("content")))
	r.Trailer = http.Header{"X-Sum": {"42"}}
	if got := readAll(t, w.do(r).Body); got != "true42" {
		t.Errorf("the trailer is declared and has the value: %s, want true and 42", got)
	}
}

func handledPattern(t testing.TB, w *handlerWorld) {
	show := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "%s|%s|%s|%s", r.Pattern, r.PathValue("id"), r.PathValue("rest"), r.RequestURI)
	})
	inner := http.NewServeMux()
	inner.Handle("GET /inner/{id}/{rest...}", show)
	outer := http.NewServeMux()
	outer.Handle("/", w.wrapped(inner))
	outer.Handle("GET /outer/{id}/{rest...}", w.wrapped(show))
	w.clientWorld.serve(outer.ServeHTTP)
	for _, place := range []string{"inner", "outer"} {
		got := readAll(t, w.do(w.request("GET", "/"+place+"/a%2Fb/c/d?q", nil)).Body)
		if want := "GET /" + place + "/{id}/{rest...}|a/b|c/d|/" + place + "/a%2Fb/c/d?q"; got != want {
			t.Errorf("with the mux %s the handler saw %s, want %s", place, got, want)
		}
	}
}

type contextKey struct{}

func handledContext(t testing.TB, w *handlerWorld) {
	var remote string
	w.serveInside(
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); !ok || s.Addr != serviceAddr {
				t.Errorf("the context's server is %v", s)
			}
			if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); !ok || a.String() != serviceAddr {
				t.Errorf("the context's local address is %v", a)
			}
			if v := r.Context().Value(contextKey{}); v != "mine" {
				t.Errorf("the context's own value is %v", v)
			}
			if r.RemoteAddr != remote {
				t.Errorf("the remote address is %s, want %s", r.RemoteAddr, remote)
			}
		}),
		func(wrapped http.Handler, rw http.ResponseWriter, r *http.Request) {
			remote = r.RemoteAddr
			wrapped.ServeHTTP(rw, r.WithContext(context.WithValue(r.Context(), contextKey{}, "mine")))
		})
	w.do(w.request("GET", "/", nil))
}

func handledDisconnect(t testing.TB, w *handlerWorld) {
	gone := make(chan struct{})
	w.serve(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	w.fail(w.requestContext(ctx, "GET", "/", nil))
	wantGone(t, &w.clientWorld, gone)
}

func handledReuse(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/whole" {
			io.Copy(rw, r.Body)
		} // else the server reads what the handler leaves
	})
	for i := range 100 {
		path := []string{"/whole", "/left"}[i%2]
		resp, err := w.base.RoundTrip(w.request("POST", path, strings.NewReader("content")))
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
		t.Errorf("100 calls, one after the other, opened %d connections", n)
	}
}

func handledConcurrently(t testing.TB, w *handlerWorld) {
	all := newMeeting(crowd)
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		if !all.wait(r) {
			t.Errorf("requests wait for each other: a minute has passed without %d being handled", crowd)
		}
		rw.Header().Set("X-Id", r.Header.Get("X-Id"))
		io.Copy(rw, r.Body)
	})
	var callers sync.WaitGroup
	for i := range crowd {
		callers.Go(func() {
			id := fmt.Sprint(i)
			r := w.request("POST", "/", strings.NewReader("body of "+id))
			r.Header.Set("X-Id", id)
			resp, err := w.base.RoundTrip(r)
			if err != nil {
				t.Errorf("call %s: %v", id, err)
				return
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || string(b) != "body of "+id || resp.Header.Get("X-Id") != id {
				t.Errorf("call %s got the response of %q with body %q, %v", id, resp.Header.Get("X-Id"), b, err)
			}
		})
	}
	callers.Wait()
}

func handledGoroutines(t testing.TB, w *handlerWorld) {
	w.serve((&Script{Default: Step{Body: "hello", Delay: time.Second}}).ServeHTTP)
	round := func() {
		readAll(t, w.do(w.request("GET", "/", nil)).Body)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		w.fail(w.requestContext(ctx, "GET", "/", nil))
		cancel()
		time.Sleep(time.Minute)
		w.base.CloseIdleConnections()
		time.Sleep(time.Minute)
		synctest.Wait()
	}
	round()
	before := len(goroutines(bubbleName()))
	for range 5 {
		round()
	}
	if after := goroutines(bubbleName()); len(after) > before {
		t.Errorf("%d goroutines before, %d after 10 calls:\n%s", before, len(after), strings.Join(after, "\n"))
	}
}
