package discovery_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

// registry is a server of a document: it knows ETags and, if it is told to,
// the preference to wait.
type registry struct {
	mu      sync.Mutex
	doc     string
	changed chan struct{} // closed at the next change
	waits   bool
	// requests counts all, documents those answered with one.
	requests, documents int
}

func (g *registry) put(doc string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doc = doc
	if g.changed != nil {
		close(g.changed)
	}
	g.changed = make(chan struct{})
}

func (g *registry) counts() (requests, documents int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests, g.documents
}

func (g *registry) state() (doc, tag string, changed chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.doc, fmt.Sprintf("%q", strconv.Itoa(len(g.doc))+g.doc[:min(len(g.doc), 9)]), g.changed
}

func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.requests++
	g.mu.Unlock()
	if r.Method != http.MethodGet {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	doc, tag, changed := g.state()
	wait, err := strconv.Atoi(strings.TrimPrefix(r.Header.Get("Prefer"), "wait="))
	if r.Header.Get("If-None-Match") == tag && err == nil && g.waits {
		select {
		case <-changed:
		case <-time.After(time.Duration(wait) * time.Second):
		case <-r.Context().Done():
			return
		}
		doc, tag, _ = g.state()
	}
	w.Header().Set("Etag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	g.mu.Lock()
	g.documents++
	g.mu.Unlock()
	_, _ = io.WriteString(w, doc)
}

// inMemory is a transport to a handler, for bubbles.
type inMemory struct{ http.Handler }

func (m *inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	m.ServeHTTP(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

func TestHTTPResolver(t *testing.T) {
	for _, wait := range []time.Duration{0, 30 * time.Second} {
		testResolver(t, func() subject {
			g := &registry{waits: true}
			change := func(n int) { g.put(document(t, numbered(n))) }
			change(1)
			return subject{discovery.HTTP{URL: "http://registry/reviews", Wait: wait, Transport: &inMemory{g}}, change, numbered}
		})
	}
}

// naiveHTTP is the negative control of what HTTP promises.
type naiveHTTP struct{ url string }

func (n naiveHTTP) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		client := &http.Client{Transport: &http.Transport{}}
		for ctx.Err() == nil {
			var infos []endpoint.Info
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url, nil)
			if err != nil {
				panic(err)
			}
			resp, err := client.Do(req)
			if err == nil {
				err = json.NewDecoder(resp.Body).Decode(&infos)
				resp.Body.Close()
			}
			if err != nil && ctx.Err() == nil && strings.Contains(n.url, "secret") {
				yield(nil, err)
				return
			}
			if ctx.Err() != nil || !yield(infos, nil) {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}

// front is a server whose handler can be exchanged.
type front struct {
	url     string
	handler atomic.Pointer[http.Handler]
	// open counts connections, ever those that there have been.
	open, ever atomic.Int64
	closed     chan struct{} // one for each connection that was closed
}

func (f *front) serve(h http.HandlerFunc) {
	handler := http.Handler(h)
	f.handler.Store(&handler)
}

func newFront(t *testing.T) *front {
	f := &front{closed: make(chan struct{}, 100)}
	f.serve(list("a:1"))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*f.handler.Load()).ServeHTTP(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			f.open.Add(1)
			f.ever.Add(1)
		case http.StateClosed:
			f.open.Add(-1)
			f.closed <- struct{}{}
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

func list(addr string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `[{"addr":%q}]`, addr) }
}

// said takes what r says, one after the other, for as long as next returns
// true.
func said(t *testing.T, r discovery.Resolver, next func(n int, infos []endpoint.Info, err error) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n := 0
	for infos, err := range r.Watch(ctx) {
		if n++; !next(n, infos, err) {
			return
		}
	}
	t.Error("nothing more was said in a minute")
}

// leaves checks that the set stays when the server does what h does, that
// this is said, and that it is said when the server is back. No text wanted
// stands for a time-out, which net/http tells in several ways.
func leaves(h http.HandlerFunc, want string) func(*testing.T, *front, func(string) discovery.Resolver) error {
	return func(t *testing.T, f *front, r func(string) discovery.Resolver) (fault error) {
		said(t, r(f.url+"/reviews"), func(n int, infos []endpoint.Info, err error) bool {
			switch n {
			case 1:
				f.serve(h)
				return addrs(infos) == "a:1"
			case 2:
				f.serve(list("a:1"))
				timeout, _ := errors.AsType[net.Error](err)
				if err == nil || infos != nil || !strings.Contains(err.Error(), want) || want == "" && (timeout == nil || !timeout.Timeout()) {
					fault = fmt.Errorf("said %v, %v", infos, err)
				}
				return fault == nil
			}
			if err != nil || addrs(infos) != "a:1" {
				fault = fmt.Errorf("then said %v, %v", infos, err)
			}
			return false
		})
		return fault
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
}

var httpPromises = map[string]func(*testing.T, *front, func(url string) discovery.Resolver) error{
	"500 leaves the set":                   leaves(status(500), "/reviews: 500 Internal Server Error"),
	"404 leaves the set":                   leaves(status(404), "404 Not Found"),
	"503 leaves the set":                   leaves(status(503), "503"),
	"204 leaves the set":                   leaves(status(204), "204"),
	"304 that was not asked for":           leaves(status(304), "304"),
	"a page leaves the set":                leaves(text("<html>"), "not a JSON list"),
	"a document with faults is none":       leaves(text(`[{"addr":"a:1","wieght":1}]`), "endpoints[0].wieght"),
	"an empty body leaves the set":         leaves(text(""), "not a JSON list"),
	"a large document leaves the set":      leaves(text("["+strings.Repeat(" ", 2<<20)+"]"), "larger than"),
	"a compressed large one too":           leaves(bomb, "larger than"),
	"a body that breaks off is none":       leaves(cutOff, "EOF"),
	"a server that is silent is none":      leaves(hang, ""),
	"a connection that is closed is none":  leaves(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"),
	"no redirect to elsewhere is followed": elsewhere,
	"what is secret in a URL is not told":  secrets,
}

func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	for range 64 {
		if _, err := z.Write(bytes.Repeat([]byte("["), 64<<10)); err != nil {
			return // the client has had enough
		}
	}
	_ = z.Close()
}

func cutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `[{"addr":"a:1"}]`)
}

func hang(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(2 * time.Second): // for a client without a time-out
	}
}

func elsewhere(t *testing.T, f *front, r func(string) discovery.Resolver) error {
	other := newFront(t)
	other.serve(list("evil:1"))
	f.serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.url, http.StatusFound) })
	var fault error
	said(t, r(f.url), func(_ int, infos []endpoint.Info, err error) bool {
		if err == nil || other.ever.Load() != 0 {
			fault = fmt.Errorf("%v, %v, %d connections", infos, err, other.ever.Load())
		}
		return false
	})
	return fault
}

func secrets(t *testing.T, f *front, r func(string) discovery.Resolver) error {
	f.serve(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	url := strings.Replace(f.url, "http://", "http://user:secret@", 1) + "/x?key=secret"
	var fault error
	said(t, r(url), func(_ int, _ []endpoint.Info, err error) bool {
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), f.url+"/x") {
			fault = err
		}
		return false
	})
	return fault
}

func TestHTTPPromises(t *testing.T) {
	for name, promise := range httpPromises {
		t.Run(name, func(t *testing.T) {
			timeout := time.Minute
			if strings.Contains(name, "silent") {
				timeout = 200 * time.Millisecond
			}
			if err := promise(t, newFront(t), func(url string) discovery.Resolver {
				return discovery.HTTP{URL: url, Interval: 10 * time.Millisecond, Timeout: timeout}
			}); err != nil {
				t.Error(err)
			}
			if err := promise(t, newFront(t), func(url string) discovery.Resolver { return naiveHTTP{url} }); err == nil {
				t.Error("negative control: a naive resolver passed")
			}
		})
	}
}

func TestHTTPRedirectAtHome(t *testing.T) {
	f := newFront(t)
	f.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/reviews", http.StatusFound)
			return
		}
		list("b:1")(w, r)
	})
	said(t, discovery.HTTP{URL: f.url + "/"}, func(_ int, infos []endpoint.Info, err error) bool {
		if addrs(infos) != "b:1" {
			t.Error(infos, err)
		}
		return false
	})
	var asked atomic.Int64
	f.serve(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/", http.StatusFound)
	})
	said(t, discovery.HTTP{URL: f.url + "/"}, func(_ int, _ []endpoint.Info, err error) bool {
		if err == nil || asked.Load() > 5 {
			t.Error(err, asked.Load())
		}
		return false
	})
}

// Two failures in a row are not told, three are.
func TestHTTPRepeatsWhatFailsInPassing(t *testing.T) {
	for failures, told := range []bool{false, false, false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			r := discovery.HTTP{URL: "http://registry/", Transport: &inMemory{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n++; n <= failures {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				list("a:1")(w, r)
			})}}
			start := time.Now()
			for infos, err := range r.Watch(t.Context()) {
				if (err != nil) != told || time.Since(start) > 400*time.Millisecond {
					t.Errorf("%d failures: %v, %v after %v", failures, infos, err, time.Since(start))
				}
				break
			}
		})
	}
}

// A server that asks to be left alone is, for as long as is reasonable.
func TestHTTPRetryAfter(t *testing.T) {
	cases := []struct {
		field string
		want  time.Duration
	}{
		{"120", 2 * time.Minute},
		{"Sat, 01 Jan 2000 00:01:00 GMT", time.Minute},
		{"100000", 5 * time.Minute},
		{"Sun, 01 Jan 2040 00:00:00 GMT", 5 * time.Minute},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			var asked []time.Time
			r := discovery.HTTP{URL: "http://registry/", Transport: &inMemory{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked = append(asked, time.Now()); len(asked) == 1 {
					w.Header().Set("Retry-After", c.field)
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				list("a:1")(w, r)
			})}}
			for _, err := range r.Watch(t.Context()) {
				if err == nil {
					break
				}
			}
			if len(asked) != 2 || asked[1].Sub(asked[0]) != c.want {
				t.Errorf("%s: asked at %v", c.field, asked)
			}
		})
	}
}

// What asking costs in an hour without a change, by server and Wait.
func TestHTTPRequests(t *testing.T) {
	cases := []struct {
		name                 string
		wait                 time.Duration
		waits, fails, noTags bool
		least, most          int
		documents            int
	}{
		{name: "polling", least: 600, most: 900, documents: 1},
		{name: "polling without tags", noTags: true, least: 600, most: 900, documents: 600},
		{name: "waiting", wait: 30 * time.Second, waits: true, least: 100, most: 130, documents: 1},
		{name: "waiting in vain", wait: 30 * time.Second, least: 3000, most: 4500, documents: 1},
		{name: "failing", fails: true, least: 3 * 100, most: 3 * 260},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &registry{waits: c.waits}
				g.put(`[{"addr":"a:1"}]`)
				h := http.Handler(g)
				switch {
				case c.noTags:
					h = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						g.requests++
						g.documents++
						_, _ = io.WriteString(w, g.doc)
					})
				case c.fails:
					h = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						g.requests++
						w.WriteHeader(http.StatusBadGateway)
					})
				}
				w := watch(t, discovery.HTTP{URL: "http://registry/", Wait: c.wait, Transport: &inMemory{h}}, 0)
				time.Sleep(time.Hour)
				w.cancel()
				synctest.Wait()
				requests, documents := g.counts()
				if requests < c.least || requests > c.most || documents < c.documents || !c.noTags && documents > c.documents {
					t.Errorf("%d requests, %d documents", requests, documents)
				}
			})
		})
	}
}

// A change is known at once where the server waits for it.
func TestHTTPWaiting(t *testing.T) {
	for _, wait := range []time.Duration{30 * time.Second, 0} {
		synctest.Test(t, func(t *testing.T) {
			g := &registry{waits: true}
			g.put(`[{"addr":"a:1"}]`)
			start := time.Now()
			time.AfterFunc(15*time.Second, func() { g.put(`[{"addr":"bb:1"}]`) })
			r := discovery.HTTP{URL: "http://registry/", Wait: wait, Interval: 10 * time.Second, Transport: &inMemory{g}}
			for infos, err := range r.Watch(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if addrs(infos) == "bb:1" {
					break
				}
			}
			// Polling, the negative control, gets to know later.
			if atOnce := time.Since(start) == 15*time.Second; atOnce != (wait > 0) {
				t.Errorf("wait %v: known after %v", wait, time.Since(start))
			}
		})
	}
}

// A watch closes the connections that it made itself and leaves alone those
// of a transport it was given.
func TestHTTPConnections(t *testing.T) {
	f := newFront(t)
	one := func(_ int, infos []endpoint.Info, err error) bool {
		if addrs(infos) != "a:1" {
			t.Error(infos, err)
		}
		return false
	}
	said(t, discovery.HTTP{URL: f.url}, one)
	<-f.closed

	own := &http.Transport{}
	said(t, discovery.HTTP{URL: f.url, Transport: own}, one)
	f.serve(status(503)) // after which go-retryablehttp closes what is idle
	said(t, discovery.HTTP{URL: f.url, Transport: own}, func(_ int, _ []endpoint.Info, err error) bool {
		if err == nil {
			t.Error("no error")
		}
		return false
	})
	f.serve(list("a:1"))
	said(t, discovery.HTTP{URL: f.url, Transport: own}, one)
	if ever, open := f.ever.Load(), f.open.Load(); ever != 2 || open != 1 {
		t.Errorf("%d connections, %d open, want 2 and 1", ever, open)
	}
	own.CloseIdleConnections()
	<-f.closed
}

func TestHTTPValidate(t *testing.T) {
	for _, c := range []struct {
		h    discovery.HTTP
		want string
	}{
		{discovery.HTTP{}, "url: is required"},
		{discovery.HTTP{URL: "ftp://user:secret@x/?key=secret"}, "url: ftp://x/ is not of the form http://host/path"},
		{discovery.HTTP{URL: "http://user:secret@x\n"}, "url: is no URL"},
		{discovery.HTTP{URL: "http://x", Transport: (*inMemory)(nil)}, "transport: is a nil *discovery_test.inMemory"},
		{discovery.HTTP{URL: "/reviews"}, "url: /reviews is not of the form http://host/path"},
		{discovery.HTTP{URL: "http://x", Wait: time.Millisecond, Interval: 1, Timeout: -1, Transport: incomparable{}},
			"interval: 1ns is less than 10ms\ntimeout: -1ns is less than 10ms\nwait: 1ms is less than 1s\n" +
				"transport: a discovery_test.incomparable cannot be compared, use a pointer to it"},
	} {
		if err := c.h.Validate(); err == nil || err.Error() != c.want {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if err := (discovery.HTTP{URL: "https://registry.example/reviews?zone=b", Transport: &inMemory{}}).Validate(); err != nil {
		t.Error(err)
	}
}

type incomparable struct{ _ []int }

func (incomparable) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("none") }
