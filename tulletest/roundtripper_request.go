package tulletest

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

// requestRows are the rules about the caller's request, its body aside.
func requestRows() []row[*clientWorld] {
	return []row[*clientWorld]{
		{name: "request is not changed", test: requestUnchanged},
		{name: "request is not changed by a failing call", test: requestUnchangedByFailure},
		{name: "response keeps the caller's request", test: responseRequest},
		{name: "invalid requests are errors", test: invalidRequests},
		{name: "host is kept", test: hostKept},
		{name: "explicit port is kept", test: portKept},
		{name: "URL is kept", test: urlKept},
		{name: "header values are kept", test: headerValues},
		{name: "large header values are whole", test: largeHeaders},
		{name: "cookies are left alone", test: cookies},
		{name: "request trailers arrive", test: requestTrailers},
		{name: "client trace fires", test: clientTrace},
	}
}

func requestUnchanged(t testing.TB, w *clientWorld) {
	var r *http.Request
	var before *snapshot
	w.serve(func(rw http.ResponseWriter, sr *http.Request) {
		// The call is under way: nothing may be changed for its time either.
		for _, c := range before.changes(r) {
			t.Errorf("while the call was under way, %s", c)
		}
		io.Copy(rw, sr.Body)
	})
	r = w.request("POST", "/unchanged?q=1", strings.NewReader("the whole body"))
	r.Header.Add("X-Several", "one")
	r.Header.Add("X-Several", "two")
	r.Header["x-lower"] = []string{"kept"}
	r.Trailer = http.Header{"X-End": {"after"}}
	r.TransferEncoding = []string{"chunked"}
	r.ContentLength = -1
	setCancel(r, make(chan struct{}))
	before = newSnapshot(r)

	var witness sync.WaitGroup
	if w.witness {
		// A caller may read its request while the call runs; so may the race
		// detector.
		witness.Go(func() { before.changes(r) })
	}
	resp := w.do(r)
	witness.Wait()
	for _, c := range before.changes(r) {
		t.Errorf("after RoundTrip, %s", c)
	}
	readAll(t, resp.Body)
	resp.Body.Close()
	w.settle()
	for _, c := range before.changes(r) {
		t.Errorf("after the response was closed, %s", c)
	}
}

func requestUnchangedByFailure(t testing.TB, w *clientWorld) {
	w.serve(func(http.ResponseWriter, *http.Request) {})
	w.refuse()
	r := w.request("PUT", "/", strings.NewReader("body"))
	r.Header.Set("X-Mine", "kept")
	before := newSnapshot(r)
	w.fail(r)
	w.settle()
	for _, c := range before.changes(r) {
		t.Errorf("after the failure, %s", c)
	}
}

func responseRequest(t testing.TB, w *clientWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Location", "/next")
	})
	r := w.request("GET", "/here", nil)
	resp := w.do(r)
	if resp.Request != r {
		t.Errorf("Response.Request is not the request passed to RoundTrip")
	}
	if u, err := resp.Location(); err != nil || u.String() != serviceURL+"/next" {
		t.Errorf("Response.Location is %v, %v", u, err)
	}
}

func invalidRequests(t testing.TB, w *clientWorld) {
	served := 0
	w.serve(func(http.ResponseWriter, *http.Request) { served++ })
	for name, spoil := range map[string]func(*http.Request){
		"nil URL":      func(r *http.Request) { r.URL = nil },
		"nil header":   func(r *http.Request) { r.Header = nil },
		"no host":      func(r *http.Request) { r.URL.Host = "" },
		"method":       func(r *http.Request) { r.Method = "GE T" },
		"scheme":       func(r *http.Request) { r.URL.Scheme = "gopher" },
		"no scheme":    func(r *http.Request) { r.URL.Scheme = "" },
		"header name":  func(r *http.Request) { r.Header["bad name"] = []string{"v"} },
		"header value": func(r *http.Request) { r.Header.Set("X-Bad", "a\nb") },
	} {
		body := newUpload(strings.NewReader("body"))
		r := w.request("POST", "/", body)
		spoil(r)
		func() {
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("%s: RoundTrip panics: %v", name, v)
				}
			}()
			resp, err := w.wrapped.RoundTrip(r)
			if err == nil || resp != nil {
				t.Errorf("%s: RoundTrip returned %v, %v", name, resp, err)
			}
		}()
		w.settle()
		if _, _, closes, _ := body.seen(); closes == 0 {
			t.Errorf("%s: the body was not closed", name)
		}
	}
	if served > 0 {
		t.Errorf("%d invalid requests arrived", served)
	}
}

func hostKept(t testing.TB, w *clientWorld) {
	script := &Script{}
	w.serve(script.ServeHTTP)
	w.do(w.request("GET", "/", nil))
	r := w.request("GET", "/", nil)
	r.Host = "other.test:81"
	w.do(r)
	for i, want := range []string{"service.test", "other.test:81"} {
		if got := script.Received()[i].Host; got != want {
			t.Errorf("the server saw the host %q, want %q", got, want)
		}
	}
}

func portKept(t testing.TB, w *clientWorld) {
	script := &Script{}
	w.serve(script.ServeHTTP)
	// Said by the URL, by the request's own Host, and by both.
	for _, said := range [][2]string{{"service.test:80", ""}, {"service.test", "service.test:80"}, {"service.test:80", "service.test:80"}} {
		r := w.request("GET", "/", nil)
		r.URL.Host, r.Host = said[0], said[1]
		w.do(r).Body.Close()
	}
	for i, got := range script.Received() {
		if got.Host != "service.test:80" {
			t.Errorf("request %d arrived with the host %q, want %q", i, got.Host, "service.test:80")
		}
	}
}

func urlKept(t testing.TB, w *clientWorld) {
	var seen []string
	w.serve(func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, r.RequestURI) })
	targets := []string{"/a%2Fb/../c//d?x=1;y&z=%zz&&=", "/", "/?", "//double", "/%E2%82%AC?q=a+b%20c"}
	for _, target := range targets {
		w.do(w.request("GET", target, nil))
	}
	r := w.request("GET", "/", nil)
	r.URL = &url.URL{Scheme: "http", Host: "service.test", Opaque: "//service.test/opaque%20path"}
	w.do(r)
	// An opaque URL is sent as it is, by HTTP/1.1 with its scheme.
	opaque := "http://service.test/opaque%20path"
	if w.http2 {
		opaque = "/opaque%20path"
	}
	if want := append(targets, opaque); !slices.Equal(seen, want) {
		t.Errorf("the server saw %q, want %q", seen, want)
	}
}

func headerValues(t testing.TB, w *clientWorld) {
	script := &Script{}
	w.serve(script.ServeHTTP)
	r := w.request("GET", "/", nil)
	want := map[string][]string{
		"X-Order":    {"2", "1", "2"},
		"X-Empty":    {""},
		"X-Comma":    {"a, b", "c"},
		"X-Utf8":     {"gr\xc3\xbc\xc3\x9fe"},
		"User-Agent": {"kit"},
		"Te":         {"trailers"},
	}
	maps.Copy(r.Header, want)
	r.Header["x-lower"] = []string{"l"}
	w.do(r)
	got := script.Received()[0].Header
	want["X-Lower"] = []string{"l"}
	for k, v := range want {
		if !slices.Equal(got[k], v) {
			t.Errorf("the server saw %s: %q, want %q", k, got[k], v)
		}
	}

	r = w.request("GET", "/", nil)
	r.Header["User-Agent"] = nil // net/http's way to send none
	w.do(r)
	if got, ok := script.Received()[1].Header["User-Agent"]; ok {
		t.Errorf("a suppressed User-Agent arrived as %q", got)
	}
}

func largeHeaders(t testing.TB, w *clientWorld) {
	large := strings.Repeat("0123456789abcdef", 64<<10/16)
	script := &Script{Default: Step{Header: http.Header{"X-Large": {large}}}}
	w.serve(script.ServeHTTP)
	r := w.request("GET", "/", nil)
	r.Header.Set("X-Large", large)
	if got := w.do(r).Header.Get("X-Large"); got != large {
		t.Errorf("of a value of %d bytes in the response's header %d have arrived, or others", len(large), len(got))
	}
	if got := script.Received()[0].Header.Get("X-Large"); got != large {
		t.Errorf("of a value of %d bytes in the request's header %d have arrived, or others", len(large), len(got))
	}
}

func cookies(t testing.TB, w *clientWorld) {
	script := &Script{Default: Step{Header: http.Header{
		"Set-Cookie": {"a=1; Path=/", "b=2; HttpOnly", "a=3"},
	}}}
	w.serve(script.ServeHTTP)
	for range 2 {
		r := w.request("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: "mine", Value: "x"})
		r.AddCookie(&http.Cookie{Name: "also", Value: "y"})
		resp := w.do(r)
		if got, want := resp.Header["Set-Cookie"], script.Default.Header["Set-Cookie"]; !slices.Equal(got, want) {
			t.Errorf("the response has Set-Cookie %q, want %q", got, want)
		}
	}
	for i, r := range script.Received() {
		// HTTP/2 sends the pairs one by one; the server joins them again.
		if got := r.Header["Cookie"]; !reflect.DeepEqual(got, []string{"mine=x; also=y"}) {
			t.Errorf("request %d arrived with Cookie %q", i, got)
		}
	}
}

func requestTrailers(t testing.TB, w *clientWorld) {
	script := &Script{}
	w.serve(script.ServeHTTP)
	body := newUpload(strings.NewReader("content"))
	r := w.request("POST", "/", body)
	trailer := http.Header{"X-Sum": nil}
	r.Trailer = trailer
	// The value is known only when the body has been read: a copy of the map
	// made before never sees it.
	body.atEOF = func() { trailer["X-Sum"] = []string{"42"} }
	w.do(r)
	got := script.Received()[0]
	if string(got.Body) != "content" || got.Trailer.Get("X-Sum") != "42" {
		t.Errorf("the server saw body %q and trailer %v", got.Body, got.Trailer)
	}
}

func clientTrace(t testing.TB, w *clientWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) { io.Copy(rw, r.Body) })
	var mu sync.Mutex
	var seen []string
	saw := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, s)
	}
	r := w.request("POST", "/", strings.NewReader("x"))
	w.do(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { saw("GotConn") },
		WroteHeaders:         func() { saw("WroteHeaders") },
		WroteRequest:         func(httptrace.WroteRequestInfo) { saw("WroteRequest") },
		GotFirstResponseByte: func() { saw("GotFirstResponseByte") },
	})))
	w.settle()
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(seen)
	if want := []string{"GotConn", "GotFirstResponseByte", "WroteHeaders", "WroteRequest"}; !slices.Equal(seen, want) {
		t.Errorf("the trace saw %q, want %q", seen, want)
	}
}
