package tulletest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// responseRows are the rules about what the caller gets.
func responseRows() []row[*clientWorld] {
	return []row[*clientWorld]{
		{name: "every status is a response", test: everyStatus},
		{name: "redirects are returned", test: redirectReturned},
		{name: "failure is an error alone", test: failureIsError},
		{name: "response header is whole", test: responseHeader},
		{name: "HEAD keeps its length", test: headLength},
		{name: "bodiless statuses keep their header", test: bodilessStatuses},
		{name: "NoBody stays NoBody", test: noBodyIdentity},
		{name: "informational responses are traced", test: informational},
		{name: "switched protocols can be written to", only: http1, test: switchingProtocols},
		{name: "decompression is the transport's", test: decompression},
		{name: "encodings asked for by the caller are left alone", test: callersEncoding},
		{name: "response trailers arrive", test: responseTrailers},
		{name: "body is received while it is produced", test: responseStreams},
		{name: "response is not read ahead", test: responseNotBuffered},
		{name: "large response arrives whole", test: largeResponse},
		{name: "truncated body is an error", test: truncatedBody},
		{name: "reset body is an error", test: resetBody},
		{name: "body ends and closes again and again", test: bodyEndsAgain},
		{name: "closed body ends the call", test: closedBodyEndsCall},
	}
}

func everyStatus(t testing.TB, w *clientWorld) {
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscanf(r.URL.Path, "/%d", &status)
		rw.Header().Set("Www-Authenticate", "Basic")
		rw.WriteHeader(status)
		fmt.Fprintf(rw, "body of %d", status)
	})
	for _, status := range []int{200, 201, 206, 299, 300, 400, 401, 403, 404, 407, 421, 425, 429, 500, 501, 502, 503, 504, 599} {
		resp := w.do(w.request("GET", fmt.Sprintf("/%d", status), nil))
		if got := readAll(t, resp.Body); resp.StatusCode != status || got != fmt.Sprintf("body of %d", status) {
			t.Errorf("got %s with body %q, want %d with its own", resp.Status, got, status)
		}
		resp.Body.Close()
	}
}

func redirectReturned(t testing.TB, w *clientWorld) {
	script := &Script{Steps: []Step{
		{Status: 302, Header: http.Header{"Location": {"/elsewhere"}}},
		{Status: 307, Header: http.Header{"Location": {serviceURL + "/elsewhere"}}},
	}}
	w.serve(script.ServeHTTP)
	for _, want := range []int{302, 307} {
		if resp := w.do(w.request("GET", "/", nil)); resp.StatusCode != want {
			t.Errorf("got %s, want %d: RoundTrip does not follow redirects", resp.Status, want)
		}
	}
	if n := script.Count(); n != 2 {
		t.Errorf("%d requests arrived, want 2", n)
	}
}

func failureIsError(t testing.TB, w *clientWorld) {
	w.serve(func(http.ResponseWriter, *http.Request) {})
	w.refuse()
	if err := w.fail(w.request("GET", "/", nil)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the error does not tell that the connection was refused: %v", err)
	}
}

func responseHeader(t testing.TB, w *clientWorld) {
	want := http.Header{
		"X-Order":       {"2", "1", "2"},
		"X-Empty":       {""},
		"Etag":          {`"v1"`},
		"Cache-Control": {"max-age=1, private"},
		"Retry-After":   {"Fri, 31 Dec 1999 23:59:59 GMT"},
		"Vary":          {"Accept", "Cookie"},
	}
	script := &Script{Default: Step{Header: want, Body: "x"}}
	w.serve(script.ServeHTTP)
	resp := w.do(w.request("GET", "/", nil))
	for name, values := range want {
		if got := resp.Header[name]; !slices.Equal(got, values) {
			t.Errorf("the response has %s: %q, want %q", name, got, values)
		}
	}
	proto, major := "HTTP/1.1", 1
	if w.http2 {
		proto, major = "HTTP/2.0", 2
	}
	if resp.Proto != proto || resp.ProtoMajor != major || resp.ContentLength != 1 {
		t.Errorf("the response says %s, major %d, length %d", resp.Proto, resp.ProtoMajor, resp.ContentLength)
	}
}

func headLength(t testing.TB, w *clientWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Content-Length", "10") })
	resp := w.do(w.request("HEAD", "/", nil))
	if got := readAll(t, resp.Body); got != "" || resp.ContentLength != 10 || resp.Header.Get("Content-Length") != "10" {
		t.Errorf("HEAD gave length %d, header %q, body %q; want 10, 10 and none",
			resp.ContentLength, resp.Header.Get("Content-Length"), got)
	}
}

func bodilessStatuses(t testing.TB, w *clientWorld) {
	script := &Script{Steps: []Step{
		{Status: 204, Header: http.Header{"X-Kept": {"yes"}}},
		{Status: 304, Header: http.Header{"X-Kept": {"yes"}, "Etag": {`"v"`}}},
	}}
	w.serve(script.ServeHTTP)
	for _, status := range []int{204, 304} {
		resp := w.do(w.request("GET", "/", nil))
		got := readAll(t, resp.Body)
		if resp.StatusCode != status || got != "" || resp.Header.Get("X-Kept") != "yes" {
			t.Errorf("got %s with header %v and body %q, want %d", resp.Status, resp.Header, got, status)
		}
		resp.Body.Close()
		w.pooled()
	}
	if n := w.opened(); n != 1 {
		t.Errorf("%d connections were opened, want 1", n)
	}
}

func noBodyIdentity(t testing.TB, w *clientWorld) {
	script := &Script{}
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		script.ServeHTTP(rw, r)
		if r.URL.Path == "/204" {
			rw.WriteHeader(204)
		}
	})
	for _, r := range []*http.Request{
		w.request("GET", "/204", nil), w.request("HEAD", "/", nil), w.request("GET", "/", nil),
	} {
		plain, err := w.base.RoundTrip(r)
		if err != nil {
			t.Fatalf("RoundTrip without the wrap: %v", err)
		}
		plain.Body.Close()
		if resp := w.do(r); plain.Body == http.NoBody && resp.Body != http.NoBody {
			t.Errorf("%s %s: http.NoBody was replaced by %T", r.Method, r.URL.Path, resp.Body)
		}
	}
}

func informational(t testing.TB, w *clientWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) {
		for _, link := range []string{"</a>", "</b>"} {
			rw.Header().Set("Link", link)
			rw.WriteHeader(http.StatusEarlyHints)
		}
		rw.Header().Del("Link")
		rw.WriteHeader(http.StatusAccepted)
	})
	var seen []string
	r := w.request("GET", "/", nil)
	resp := w.do(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			seen = append(seen, fmt.Sprint(code, header.Get("Link")))
			return nil
		},
	})))
	if want := []string{"103</a>", "103</b>"}; !slices.Equal(seen, want) {
		t.Errorf("the trace saw %q, want %q", seen, want)
	}
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("the final response is %s, want 202", resp.Status)
	}
}

func switchingProtocols(t testing.TB, w *clientWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		io.Copy(conn, buffered)
	})
	r := w.request("GET", "/", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	resp := w.do(r)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %s, want 101", resp.Status)
	}
	rw, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("the body of a 101 is a %T, which cannot be written to", resp.Body)
	}
	for _, message := range []string{"ping", "pong"} {
		time.Sleep(time.Hour) // the protocol that follows has its own idea of time
		if _, err := io.WriteString(rw, message); err != nil {
			t.Fatalf("writing: %v", err)
		}
		b := make([]byte, len(message))
		if _, err := io.ReadFull(rw, b); err != nil || string(b) != message {
			t.Fatalf("the echo of %q is %q, %v", message, b, err)
		}
	}
	if err := rw.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	w.settle()
	if n := w.open(); n != 0 {
		t.Errorf("%d connections are open after Close", n)
	}
}

const plainText = "text that is text that is text"

// zipped answers with gzip to whoever accepts it.
func zipped(seen *[]string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, r.Header.Get("Accept-Encoding"))
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			io.WriteString(rw, plainText)
			return
		}
		rw.Header().Set("Content-Encoding", "gzip")
		rw.Write(zip(plainText))
	}
}

func zip(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.Bytes()
}

func decompression(t testing.TB, w *clientWorld) {
	var seen []string
	w.serve(zipped(&seen))
	resp := w.do(w.request("GET", "/", nil))
	got := readAll(t, resp.Body)
	if got != plainText || !resp.Uncompressed || resp.ContentLength != -1 || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("got body %q, Uncompressed %v, length %d, Content-Encoding %q; want the text, true, -1 and none",
			got, resp.Uncompressed, resp.ContentLength, resp.Header.Get("Content-Encoding"))
	}
}

func callersEncoding(t testing.TB, w *clientWorld) {
	var seen []string
	w.serve(zipped(&seen))
	r := w.request("GET", "/", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	resp := w.do(r)
	got := readAll(t, resp.Body)
	if got != string(zip(plainText)) || resp.Uncompressed || resp.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("a caller that asks for gzip got body %q, Uncompressed %v, Content-Encoding %q",
			got, resp.Uncompressed, resp.Header.Get("Content-Encoding"))
	}
	// A range of a compressed body is not a compressed range.
	r = w.request("GET", "/", nil)
	r.Header.Set("Range", "bytes=0-3")
	w.do(r)
	w.do(w.request("HEAD", "/", nil))
	if want := []string{"gzip", "", ""}; !slices.Equal(seen, want) {
		t.Errorf("requests of gzip, of a range and HEAD arrived with Accept-Encoding %q, want %q", seen, want)
	}
}

func responseTrailers(t testing.TB, w *clientWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Trailer", "X-Declared")
		io.WriteString(rw, "body")
		http.NewResponseController(rw).Flush()
		rw.Header().Set("X-Declared", "1")
		rw.Header().Set(http.TrailerPrefix+"X-Undeclared", "2")
	})
	resp := w.do(w.request("GET", "/", nil))
	declared := resp.Trailer
	if _, ok := declared["X-Declared"]; !ok || len(declared) != 1 {
		t.Errorf("before the body, the trailer is %v, want X-Declared without a value", declared)
	}
	readAll(t, resp.Body)
	if got := resp.Trailer; got.Get("X-Declared") != "1" || got.Get("X-Undeclared") != "2" {
		t.Errorf("after the body, the trailer is %v", got)
	}
	if declared.Get("X-Declared") != "1" {
		t.Errorf("the trailer's map was replaced: it is still %v", declared)
	}
}

func responseStreams(t testing.TB, w *clientWorld) {
	more := make(chan struct{})
	w.serve(func(rw http.ResponseWriter, r *http.Request) {
		for _, part := range []string{"first", "later"} {
			io.WriteString(rw, part)
			http.NewResponseController(rw).Flush()
			select {
			case <-more:
			case <-time.After(time.Minute):
				t.Errorf("%q was not read while the body is open", part)
			case <-r.Context().Done():
				return
			}
		}
	})
	resp := w.do(w.request("GET", "/", nil))
	for range 2 {
		if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
			t.Fatalf("reading: %v", err)
		}
		select {
		case more <- struct{}{}:
		case <-time.After(time.Hour):
		}
	}
	readAll(t, resp.Body)
}

func responseNotBuffered(t testing.TB, w *clientWorld) {
	written := make(chan int64, 1)
	w.serve(func(rw http.ResponseWriter, _ *http.Request) {
		http.NewResponseController(rw).SetWriteDeadline(time.Now().Add(time.Minute))
		n, _ := io.Copy(rw, endless(transfer))
		written <- n
	})
	w.do(w.request("GET", "/", nil))
	if n := <-written; n > unread {
		t.Errorf("%d bytes of the body were sent although the caller has read none", n)
	}
}

func largeResponse(t testing.TB, w *clientWorld) {
	w.serve(func(rw http.ResponseWriter, _ *http.Request) { io.Copy(rw, endless(transfer)) })
	resp := w.do(w.request("GET", "/", nil))
	if n, err := io.Copy(io.Discard, resp.Body); n != transfer || err != nil {
		t.Errorf("%d bytes arrived of %d, %v", n, int64(transfer), err)
	}
}

func truncatedBody(t testing.TB, w *clientWorld) {
	script := &Script{Default: Step{Body: "half|half", Fault: Truncate}}
	w.serve(script.ServeHTTP)
	resp := w.do(w.request("GET", "/", nil))
	b, err := io.ReadAll(resp.Body)
	if string(b) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the body reads as %q, %v; want half and io.ErrUnexpectedEOF", b, err)
	}
}

func resetBody(t testing.TB, w *clientWorld) {
	script := &Script{Default: Step{Body: "half|half", Fault: ResetBody}}
	w.serve(script.ServeHTTP)
	resp := w.do(w.request("GET", "/", nil))
	b, err := io.ReadAll(resp.Body)
	if string(b) != "half" || err == nil {
		t.Errorf("the body reads as %q, %v; want half and an error", b, err)
	}
	if !w.http2 && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the error does not tell that the connection was reset: %v", err)
	}
	if _, again := resp.Body.Read(make([]byte, 1)); again == nil || errors.Is(again, io.EOF) {
		t.Errorf("after an error the body reads %v", again)
	}
}

func bodyEndsAgain(t testing.TB, w *clientWorld) {
	script := &Script{Default: Step{Body: "whole"}}
	w.serve(script.ServeHTTP)
	resp := w.do(w.request("GET", "/", nil))
	if got := readAll(t, resp.Body); got != "whole" {
		t.Errorf("the body is %q", got)
	}
	for range 2 {
		if n, err := resp.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("reading after the end gave %d, %v, want io.EOF", n, err)
		}
	}
	for range 3 {
		if err := resp.Body.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	resp = w.do(w.request("GET", "/", nil))
	resp.Body.Close()
	if n, err := resp.Body.Read(make([]byte, 8)); n != 0 || err == nil {
		t.Errorf("reading a closed body gave %d, %v, want an error", n, err)
	}
}

func closedBodyEndsCall(t testing.TB, w *clientWorld) {
	gone := w.stalling()
	resp := w.do(w.request("GET", "/", nil))
	if err := resp.Body.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wantGone(t, w, gone)
}
