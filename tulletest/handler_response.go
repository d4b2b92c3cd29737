package tulletest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

// handlerResponseRows are the rules about what the client gets.
func handlerResponseRows() []row[*handlerWorld] {
	return []row[*handlerWorld]{
		{name: "nothing written is 200", test: implicitStatus},
		{name: "first final status counts", test: firstStatus},
		{name: "panics pass through", test: panics},
		{name: "response trailers arrive", test: handlerTrailers},
		{name: "response is not read ahead", test: handlerResponseNotBuffered},
		{name: "lengths are kept", test: handlerLengths},
		{name: "HEAD has the header of GET", test: handlerHead},
		{name: "ranges and entity tags are left alone", test: handlerContent},
	}
}

func implicitStatus(t testing.TB, w *handlerWorld) {
	w.serve(func(http.ResponseWriter, *http.Request) {})
	resp := w.do(w.request("GET", "/", nil))
	if body := readAll(t, resp.Body); resp.StatusCode != 200 || body != "" || resp.ContentLength != 0 {
		t.Errorf("got %s with body %q and length %d, want 200, none and 0", resp.Status, body, resp.ContentLength)
	}
}

func firstStatus(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "</a>")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Set("Link", "</b>")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.WriteHeader(http.StatusAccepted)
		rw.Header().Set("X-Late", "lost")
		rw.WriteHeader(http.StatusInternalServerError)
		io.WriteString(rw, "body")
	})
	var hints []string
	r := w.request("GET", "/", nil)
	resp := w.do(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, header.Get("Link")))
			return nil
		},
	})))
	if want := []string{"103</a>", "103</b>"}; !slices.Equal(hints, want) {
		t.Errorf("the client saw %q before the response, want %q", hints, want)
	}
	if body := readAll(t, resp.Body); resp.StatusCode != http.StatusAccepted || body != "body" || resp.Header.Get("X-Late") != "" {
		t.Errorf("got %s with header %v and body %q, want 202", resp.Status, resp.Header, body)
	}
}

func panics(t testing.TB, w *handlerWorld) {
	mine := fmt.Errorf("mine")
	var caught any
	w.serveInside(
		http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/begun") {
				rw.Header().Set("Content-Length", "10")
				io.WriteString(rw, "begun")
				http.NewResponseController(rw).Flush()
			}
			if strings.HasSuffix(r.URL.Path, "/abort") {
				panic(http.ErrAbortHandler)
			}
			panic(mine)
		}),
		func(wrapped http.Handler, rw http.ResponseWriter, r *http.Request) {
			defer func() {
				caught = recover()
				panic(http.ErrAbortHandler) // without a line in the server's log
			}()
			wrapped.ServeHTTP(rw, r)
		})
	for path, want := range map[string]any{
		"/own": mine, "/abort": http.ErrAbortHandler, "/begun/own": mine, "/begun/abort": http.ErrAbortHandler,
	} {
		caught = nil
		resp, err := w.base.RoundTrip(w.request("GET", path, nil))
		w.settle()
		if caught != want {
			t.Errorf("%s: the server caught %v, want %v", path, caught, want)
		}
		if !strings.HasPrefix(path, "/begun") {
			if path == "/own" && w.differs(PanicsAnswered) {
				panicAnswered(t, w, resp, err)
				continue
			}
			if err == nil {
				resp.Body.Close()
				t.Errorf("%s: the client got %s although the handler panicked before it wrote anything", path, resp.Status)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "begun" || err == nil {
			t.Errorf("%s: the body reads %q, %v; want begun and an error", path, b, err)
		}
		resp.Body.Close()
	}
}

// panicAnswered requires what PanicsAnswered describes.
func panicAnswered(t testing.TB, w *handlerWorld, resp *http.Response, err error) {
	if err != nil {
		t.Errorf("/own: the client got %v, want 500", err)
		return
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusInternalServerError || resp.ContentLength >= 0 && int64(len(b)) != resp.ContentLength {
		t.Errorf("/own: the client got %s with %d bytes of %d, want all of a 500", resp.Status, len(b), resp.ContentLength)
	}
	if !w.http2 && !resp.Close {
		t.Errorf("/own: the 500 does not say that the connection ends with it")
	}
	if (err != nil) != w.http2 {
		t.Errorf("/own: the body of the 500 ends in %v", err)
	}
}

func handlerTrailers(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Trailer", "X-Declared")
		io.WriteString(rw, "body")
		http.NewResponseController(rw).Flush()
		rw.Header().Set("X-Declared", "1")
		rw.Header().Set(http.TrailerPrefix+"X-Undeclared", "2")
	})
	resp := w.do(w.request("GET", "/", nil))
	body := readAll(t, resp.Body)
	if got := resp.Trailer; body != "body" || got.Get("X-Declared") != "1" || got.Get("X-Undeclared") != "2" {
		t.Errorf("got body %q and trailer %v", body, got)
	}
}

func handlerResponseNotBuffered(t testing.TB, w *handlerWorld) {
	written := make(chan int64, 1)
	w.serveInside(
		http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			n, _ := io.Copy(rw, endless(transfer))
			written <- n
		}),
		func(wrapped http.Handler, rw http.ResponseWriter, r *http.Request) {
			http.NewResponseController(rw).SetWriteDeadline(time.Now().Add(time.Minute))
			wrapped.ServeHTTP(rw, r)
		})
	resp, err := w.base.RoundTrip(w.request("GET", "/", nil))
	if err == nil {
		defer resp.Body.Close()
	}
	if n := <-written; n > unread {
		t.Errorf("the handler could write %d bytes although the client has read none", n)
	}
}

func handlerLengths(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/declared":
			rw.Header().Set("Content-Length", "4")
			http.NewResponseController(rw).Flush()
		case "/unknown":
			http.NewResponseController(rw).Flush()
		}
		io.WriteString(rw, "body")
	})
	for path, want := range map[string]int64{"/declared": 4, "/short": 4, "/unknown": -1} {
		resp := w.do(w.request("GET", path, nil))
		if got := readAll(t, resp.Body); got != "body" || resp.ContentLength != want {
			t.Errorf("%s: got body %q with length %d, want %d", path, got, resp.ContentLength, want)
		}
	}
}

func handlerHead(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Method", "any")
		fmt.Fprint(rw, "<html>the body")
	})
	get, head := w.do(w.request("GET", "/", nil)), w.do(w.request("HEAD", "/", nil))
	if got := readAll(t, head.Body); got != "" {
		t.Errorf("HEAD has the body %q", got)
	}
	for _, name := range []string{"Content-Length", "Content-Type", "X-Method"} {
		if g, h := get.Header[name], head.Header[name]; len(g) != 1 || !slices.Equal(g, h) {
			t.Errorf("GET has %s: %q, HEAD %q", name, g, h)
		}
	}
}

func handlerContent(t testing.TB, w *handlerWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Etag", `"v1"`)
		http.ServeContent(rw, r, "file.txt", time.Unix(1e9, 0), strings.NewReader("0123456789"))
	})
	for _, c := range []struct {
		name, value string
		status      int
		body        string
		header      map[string]string
	}{
		{"", "", 200, "0123456789", map[string]string{"Etag": `"v1"`, "Content-Length": "10", "Accept-Ranges": "bytes"}},
		{"Range", "bytes=2-4", 206, "234", map[string]string{"Content-Range": "bytes 2-4/10", "Etag": `"v1"`, "Content-Length": "3"}},
		{"Range", "bytes=20-", 416, "", map[string]string{"Content-Range": "bytes */10"}},
		{"If-None-Match", `"v1"`, 304, "", map[string]string{"Etag": `"v1"`}},
		{"If-Match", `"v2"`, 412, "", nil},
	} {
		r := w.request("GET", "/", nil)
		if c.name != "" {
			r.Header.Set(c.name, c.value)
		}
		r.Header.Set("Accept-Encoding", "identity")
		resp := w.do(r)
		got := readAll(t, resp.Body)
		if resp.StatusCode != c.status || c.body != "" && got != c.body {
			t.Errorf("%s %s: got %s with body %q, want %d with %q", c.name, c.value, resp.Status, got, c.status, c.body)
		}
		for name, value := range c.header {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("%s %s: the response has %s: %q, want %q", c.name, c.value, name, got, value)
			}
		}
	}
}
