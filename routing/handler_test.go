package routing_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/routing"
)

func TestHandler(t *testing.T) {
	var outer *http.Request
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Set"] = []string{"old"}
		w.Header()["X-Add"] = []string{"1"}
		w.Header()["X-Remove"] = []string{"1"}
		fmt.Fprintf(w, "%s %s %s %v %t", r.URL, r.RequestURI, r.Host, r.Header["X-Set"], r == outer)
	})
	wrapped := routing.Handler(filterRules(t))(inner)
	for _, c := range []struct {
		path   string
		status int
		body   string
		header string
	}{
		{"/unmatched", 200, "/unmatched /unmatched h [old] true", "[old] [1] [1]"},
		{"/nothing", 200, "/nothing /nothing h [old] true", "[old] [1] [1]"},
		{"/request", 200, "/request /request h [new] false", "[old] [1] [1]"},
		{"/response", 200, "/response /response h [old] true", "[new] [1] []"},
		{"/rewrite/a?q", 200, "/new/a?q /rewrite/a?q other [old] false", "[old] [1] [1]"},
		{"/redirect/a", 308, "", "[new] [] []"},
		{"/direct", 503, "closed", "[new] [] []"},
		{"/all", 200, "/all%20new /all h [new] false", "[old] [1 2] [1]"},
	} {
		outer = httptest.NewRequest("GET", c.path, nil)
		outer.Host = "h"
		outer.Header.Set("X-Set", "old")
		before := outer.Clone(outer.Context())
		w := httptest.NewRecorder()
		wrapped.ServeHTTP(w, outer)
		got := w.Result()
		header := fmt.Sprint(got.Header["X-Set"], got.Header["X-Add"], got.Header["X-Remove"])
		if got.StatusCode != c.status || w.Body.String() != c.body || header != c.header {
			t.Errorf("%s: %d %q %s", c.path, got.StatusCode, w.Body, header)
		}
		if outer.URL.String() != before.URL.String() || !reflect.DeepEqual(outer.Header, before.Header) || outer.Host != before.Host {
			t.Errorf("%s: the caller's request was changed", c.path)
		}
	}
}

// abilities names what a ResponseWriter can do.
func abilities(w http.ResponseWriter) (names []string) {
	for _, t := range []reflect.Type{
		reflect.TypeFor[http.Flusher](), reflect.TypeFor[interface{ FlushError() error }](), reflect.TypeFor[http.Hijacker](),
		reflect.TypeFor[io.ReaderFrom](), reflect.TypeFor[http.Pusher](), reflect.TypeFor[io.StringWriter](),
	} {
		if reflect.TypeOf(w).Implements(t) {
			names = append(names, t.String())
		}
	}
	return names
}

// TestHandlerKeepsAbilities compares what a writer can do inside and outside of a
// rule that edits responses.
func TestHandlerKeepsAbilities(t *testing.T) {
	var outside, inside []string
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inside = abilities(w) })
	wrapped := routing.Handler(filterRules(t))(inner)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outside = abilities(w)
		wrapped.ServeHTTP(w, r)
	})
	check := func(name string, want int) {
		t.Helper()
		if !slices.Equal(inside, outside) || len(inside) != want {
			t.Errorf("%s: inside %v, outside %v", name, inside, outside)
		}
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/response", nil))
	check("recorder", 2)
	for _, http2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(handler)
		server.EnableHTTP2 = http2
		server.StartTLS()
		resp, err := server.Client().Get(server.URL + "/response")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := 1 + b2i(http2); resp.ProtoMajor != want {
			t.Fatalf("HTTP/%d", resp.ProtoMajor)
		}
		if http2 {
			check("HTTP/2", 4)
		} else {
			check("HTTP/1", 5)
		}
		if got := resp.Header.Get("X-Set"); got != "new" {
			t.Errorf("a handler that writes nothing: X-Set is %q", got)
		}
		server.Close()
	}
	wrapped.ServeHTTP(struct{ http.ResponseWriter }{httptest.NewRecorder()}, httptest.NewRequest("GET", "/response", nil))
	if inside != nil {
		t.Errorf("a bare writer can %v", inside)
	}
}

// hidden is a writer that only a controller can flush.
type hidden struct{ http.ResponseWriter }

func (h hidden) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// TestHandlerForeignWriters flushes writers of other libraries, which must not
// get by the edit.
func TestHandlerForeignWriters(t *testing.T) {
	wrapped := routing.Handler(filterRules(t))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		} else if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("%T: %v", w, err)
		}
	}))
	for name, wrap := range map[string]func(*httptest.ResponseRecorder) http.ResponseWriter{
		"flusher": func(w *httptest.ResponseRecorder) http.ResponseWriter {
			return struct {
				http.ResponseWriter
				http.Flusher
			}{w, w}
		},
		"hidden": func(w *httptest.ResponseRecorder) http.ResponseWriter { return hidden{hidden{w}} },
	} {
		recorder := httptest.NewRecorder()
		wrapped.ServeHTTP(wrap(recorder), httptest.NewRequest("GET", "/response", nil))
		if got := recorder.Result().Header.Get("X-Set"); !recorder.Flushed || got != "new" {
			t.Errorf("%s: flushed %t, X-Set is %q", name, recorder.Flushed, got)
		}
	}
}

// TestHandlerEditsInTime lets handlers begin the response in every way there is.
func TestHandlerEditsInTime(t *testing.T) {
	for name, begin := range map[string]http.HandlerFunc{
		"nothing":     func(w http.ResponseWriter, r *http.Request) {},
		"WriteHeader": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) },
		"Write":       func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("x")) },
		"WriteString": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x") },
		"ReadFrom":    func(w http.ResponseWriter, r *http.Request) { w.(io.ReaderFrom).ReadFrom(strings.NewReader("x")) },
		"Flush":       func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush() },
		"FlushError":  func(w http.ResponseWriter, r *http.Request) { http.NewResponseController(w).Flush() },
		"twice":       func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200); io.WriteString(w, "x") },
		"after 103":   func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(103); w.WriteHeader(200) },
	} {
		handler := routing.Handler(filterRules(t))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Set", "old")
			w.Header().Set("X-Remove", "old")
			begin(w, r)
			w.Header().Set("X-Set", "late")
			if name == "nothing" {
				w.Header().Set("X-Set", "old")
			}
		}))
		server := httptest.NewServer(handler)
		req := request(t, "GET", server.URL+"/response")
		early := ""
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			early = fmt.Sprint(code, " ", header.Get("X-Set"))
			return nil
		}}
		resp, err := server.Client().Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
		if err != nil {
			t.Fatal(err)
		}
		body(t, resp)
		if resp.Header.Get("X-Set") != "new" || resp.Header["X-Remove"] != nil {
			t.Errorf("%s: %v", name, resp.Header)
		}
		if name == "after 103" && early != "103 old" {
			t.Errorf("the early response was %q", early)
		}
		server.Close()
	}
}

func TestHandlerHijack(t *testing.T) {
	handler := routing.Handler(filterRules(t))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\nraw")
	}))
	server := httptest.NewServer(handler)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /response HTTP/1.1\r\nHost: h\r\nUpgrade: raw\r\nConnection: Upgrade\r\n\r\n")
	all, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil || !strings.HasSuffix(string(all), "\r\n\r\nraw") || strings.Contains(string(all), "X-Set") {
		t.Errorf("%q, %v", all, err)
	}
}

func TestHandlerPanic(t *testing.T) {
	handler := routing.Handler(filterRules(t))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("the panic was swallowed")
		}
	}()
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/response", nil))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
