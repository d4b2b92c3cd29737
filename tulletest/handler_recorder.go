package tulletest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// recorderRows are the rules that need no connection.
func recorderRows() []row[*handlerWorld] {
	return []row[*handlerWorld]{
		{name: "recorder has its interfaces and no more", test: recorderInterfaces},
		{name: "bare writer is not made to claim more", test: bareInterfaces},
		{name: "foreign writer can still flush", test: foreignFlush},
		{name: "foreign writer is reached by the controller", test: foreignController},
		{name: "recorder records what was written", test: recorderRecords},
		{name: "TLS state and context arrive", test: recorderTLS},
		{name: "nothing is written after a panic", test: recorderPanic},
	}
}

func recorderInterfaces(t testing.TB, w *handlerWorld) {
	rec := httptest.NewRecorder()
	w.wrapped(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		wantInterfaces(t, rec, rw)
		if err := http.NewResponseController(rw).SetReadDeadline(time.Time{}); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("SetReadDeadline on a recorder gave %v, want http.ErrNotSupported", err)
		}
		if err := http.NewResponseController(rw).Flush(); err != nil {
			t.Errorf("Flush on a recorder gave %v", err)
		}
	})).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	if !rec.Flushed {
		t.Errorf("the recorder was not flushed")
	}
}

func bareInterfaces(t testing.TB, w *handlerWorld) {
	bare := &bareWriter{header: make(http.Header)}
	w.wrapped(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		for _, o := range optionalInterfaces() {
			// Writing a string needs no more than Write.
			if o.in(rw) && !o.in(bare) && o.name != "io.StringWriter" {
				t.Errorf("over a writer that has nothing the handler's claims %s", o.name)
			}
		}
		if err := http.NewResponseController(rw).Flush(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Flush gave %v, want http.ErrNotSupported", err)
		}
		rw.WriteHeader(http.StatusAccepted)
		io.WriteString(rw, "body")
	})).ServeHTTP(bare, httptest.NewRequest("GET", "/", nil))
	if bare.status != http.StatusAccepted || bare.body.String() != "body" {
		t.Errorf("the writer got %d and %q, want 202 and body", bare.status, bare.body.String())
	}
}

func foreignFlush(t testing.TB, w *handlerWorld) {
	foreign := &flushingWriter{bareWriter: bareWriter{header: make(http.Header)}, inner: &controlledWriter{}}
	w.wrapped(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		f, ok := rw.(http.Flusher)
		if !ok {
			t.Errorf("over a writer that is an http.Flusher the handler's is not")
			return
		}
		f.Flush()
		if has[http.Hijacker](rw) || has[http.Pusher](rw) {
			t.Errorf("over a writer that can only flush the handler's has %v", interfacesOf(rw))
		}
	})).ServeHTTP(foreign, httptest.NewRequest("GET", "/", nil))
	if foreign.flushes == 0 {
		t.Errorf("Flush did not reach the writer")
	}
}

func foreignController(t testing.TB, w *handlerWorld) {
	inner := &controlledWriter{bareWriter: bareWriter{header: make(http.Header)}, flushed: errors.New("mine")}
	foreign := &flushingWriter{bareWriter: bareWriter{header: make(http.Header)}, inner: inner}
	deadline := time.Now().Add(time.Hour)
	w.wrapped(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(rw).SetReadDeadline(deadline); err != nil {
			t.Errorf("SetReadDeadline: %v", err)
		}
	})).ServeHTTP(foreign, httptest.NewRequest("GET", "/", nil))
	if !inner.deadline.Equal(deadline) {
		t.Errorf("the deadline did not reach the writer below")
	}
	w.wrapped(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(rw).Flush(); !errors.Is(err, inner.flushed) {
			t.Errorf("Flush gave %v, want the error of the writer's FlushError", err)
		}
	})).ServeHTTP(inner, httptest.NewRequest("GET", "/", nil))
}

func recorderRecords(t testing.TB, w *handlerWorld) {
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		status int
		body   string
	}{
		"nothing":       {func(http.ResponseWriter, *http.Request) {}, 200, ""},
		"body":          {func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "b") }, 200, "b"},
		"status":        {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(404) }, 404, ""},
		"status twice":  {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(404); rw.WriteHeader(500) }, 404, ""},
		"http.Error":    {func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "no", http.StatusServiceUnavailable) }, 503, "no\n"},
		"redirect":      {func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, "/x", http.StatusFound) }, 302, "<a href=\"/x\">Found</a>.\n\n"},
		"empty write":   {func(rw http.ResponseWriter, _ *http.Request) { rw.Write(nil) }, 200, ""},
		"not found":     {http.NotFound, 404, "404 page not found\n"},
		"switched":      {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(101) }, 101, ""},
		"several parts": {func(rw http.ResponseWriter, _ *http.Request) { rw.Write([]byte("a")); rw.Write([]byte("b")) }, 200, "ab"},
	} {
		rec := httptest.NewRecorder()
		w.wrapped(c.handle).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		if rec.Code != c.status || rec.Body.String() != c.body {
			t.Errorf("%s: recorded %d and %q, want %d and %q", name, rec.Code, rec.Body, c.status, c.body)
		}
	}
}

func recorderTLS(t testing.TB, w *handlerWorld) {
	state := &tls.ConnectionState{ServerName: "service.test"}
	r := httptest.NewRequest("GET", "https://service.test/", nil)
	r.TLS = state
	r = r.WithContext(context.WithValue(r.Context(), contextKey{}, "mine"))
	r.SetPathValue("id", "7")
	r.Pattern = "/{id}"
	called := false
	w.wrapped(http.HandlerFunc(func(_ http.ResponseWriter, got *http.Request) {
		called = true
		if got.TLS != state {
			t.Errorf("the TLS state is %v", got.TLS)
		}
		if got.Context().Value(contextKey{}) != "mine" || got.PathValue("id") != "7" || got.Pattern != "/{id}" {
			t.Errorf("the context's value is %v, the path value %q, the pattern %q",
				got.Context().Value(contextKey{}), got.PathValue("id"), got.Pattern)
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	if !called {
		t.Errorf("the handler was not called")
	}
}

func recorderPanic(t testing.TB, w *handlerWorld) {
	for _, value := range []any{"own", http.ErrAbortHandler} {
		writer := &bareWriter{header: make(http.Header)}
		wrapped := w.wrapped(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(value) }))
		func() {
			defer func() {
				if got := recover(); got != value {
					t.Errorf("the handler's panic %v became %v", value, got)
				}
			}()
			wrapped.ServeHTTP(writer, httptest.NewRequest("GET", "/", nil))
		}()
		if value == "own" && w.differs(PanicsAnswered) {
			if writer.status != http.StatusInternalServerError {
				t.Errorf("after the panic %v, %d was written, want 500", value, writer.status)
			}
			continue
		}
		if writer.status != 0 || writer.body.Len() > 0 {
			t.Errorf("after the panic %v, %d and %q were written", value, writer.status, writer.body.String())
		}
	}
}
