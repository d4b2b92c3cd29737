package tulletest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// bytesRows compare what goes over the wire with and without the wrap.
func bytesRows() []row[*clientWorld] {
	return []row[*clientWorld]{
		{name: "requests are the same byte for byte", only: http1, test: sameRequestBytes},
		{name: "responses are the same byte for byte", only: http1, test: sameResponseBytes},
		{name: "requests arrive the same", test: sameRequests},
	}
}

// requestCorpus is a set of requests that differ in all a caller can choose.
func requestCorpus() map[string]func(w *clientWorld) *http.Request {
	return map[string]func(w *clientWorld) *http.Request{
		"GET":          func(w *clientWorld) *http.Request { return w.request("GET", "/", nil) },
		"query":        func(w *clientWorld) *http.Request { return w.request("GET", "/a%2fb//c?x=1;y&z=%zz", nil) },
		"HEAD":         func(w *clientWorld) *http.Request { return w.request("HEAD", "/", nil) },
		"own method":   func(w *clientWorld) *http.Request { return w.request("PURGE", "/", nil) },
		"POST nothing": func(w *clientWorld) *http.Request { return w.request("POST", "/", nil) },
		"POST NoBody":  func(w *clientWorld) *http.Request { return w.request("POST", "/", http.NoBody) },
		"POST empty":   func(w *clientWorld) *http.Request { return w.request("POST", "/", strings.NewReader("")) },
		"POST known":   func(w *clientWorld) *http.Request { return w.request("POST", "/", strings.NewReader("content")) },
		"POST unknown": func(w *clientWorld) *http.Request {
			return w.request("POST", "/", newUpload(strings.NewReader("content")))
		},
		"DELETE with body": func(w *clientWorld) *http.Request {
			return w.request("DELETE", "/", strings.NewReader("content"))
		},
		"OPTIONS *": func(w *clientWorld) *http.Request {
			r := w.request("OPTIONS", "/", nil)
			r.URL = &url.URL{Scheme: "http", Host: "service.test", Opaque: "*"}
			return r
		},
		"empty method": func(w *clientWorld) *http.Request {
			r := w.request("GET", "/", nil)
			r.Method = ""
			return r
		},
		"host": func(w *clientWorld) *http.Request {
			r := w.request("GET", "/", nil)
			r.Host = "Other.Test:99"
			return r
		},
		"close": func(w *clientWorld) *http.Request {
			r := w.request("GET", "/", nil)
			r.Close = true
			return r
		},
		"user in URL": func(w *clientWorld) *http.Request {
			r := w.request("GET", "/", nil)
			r.URL.User = url.UserPassword("me", "secret")
			return r
		},
		"header case": func(w *clientWorld) *http.Request {
			r := w.request("GET", "/", nil)
			r.Header["x-lower"] = []string{"1", "2"}
			r.Header["X-UPPER"] = []string{""}
			return r
		},
		"no agent": func(w *clientWorld) *http.Request {
			r := w.request("GET", "/", nil)
			r.Header["User-Agent"] = nil
			return r
		},
		"own agent and encoding": func(w *clientWorld) *http.Request {
			r := w.request("GET", "/", nil)
			r.Header.Set("User-Agent", "mine/1")
			r.Header.Set("Accept-Encoding", "br")
			return r
		},
		"range": func(w *clientWorld) *http.Request {
			r := w.request("GET", "/", nil)
			r.Header.Set("Range", "bytes=1-")
			return r
		},
		"expect": func(w *clientWorld) *http.Request {
			r := w.request("PUT", "/", strings.NewReader("content"))
			r.Header.Set("Expect", "100-continue")
			return r
		},
		"chunked by wish": func(w *clientWorld) *http.Request {
			r := w.request("POST", "/", strings.NewReader("content"))
			r.TransferEncoding = []string{"chunked"}
			return r
		},
		"trailer": func(w *clientWorld) *http.Request {
			r := w.request("POST", "/", newUpload(strings.NewReader("content")))
			r.Trailer = http.Header{"X-End": {"1"}}
			return r
		},
		"credentials": func(w *clientWorld) *http.Request {
			r := w.request("GET", "/", nil)
			r.SetBasicAuth("me", "secret")
			r.AddCookie(&http.Cookie{Name: "c", Value: "1"})
			r.Header.Set("Referer", "http://elsewhere.test/")
			return r
		},
	}
}

// responseCorpus is a set of responses as a server may send them. Each ends
// its connection.
func responseCorpus() map[string]string {
	return map[string]string{
		"length":          "HTTP/1.1 207 Own Reason\r\nX-lower: a\r\nx-TWICE: 1\r\nX-Twice: 2\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
		"chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\nConnection: close\r\n\r\n5;ext=1\r\nhello\r\n0\r\nX-End: 1\r\nX-Other: 2\r\n\r\n",
		"until close":     "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
		"HTTP/1.0":        "HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nhello",
		"no reason":       "HTTP/1.1 599 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"204":             "HTTP/1.1 204 No Content\r\nX-A: b\r\nConnection: close\r\n\r\n",
		"304":             "HTTP/1.1 304 Not Modified\r\nEtag: W/\"v\"\r\nContent-Length: 9\r\nConnection: close\r\n\r\n",
		"early hints":     "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"cookies":         "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"redirect":        "HTTP/1.1 301 Moved Permanently\r\nLocation: /next\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"gzip":            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + string(zip(plainText)),
		"false gzip":      "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\nhello",
		"short":           "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhello",
		"broken chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\nzz\r\n",
		"broken length":   "HTTP/1.1 200 OK\r\nContent-Length: five\r\nConnection: close\r\n\r\nhello",
		"broken status":   "HTTP/1.1 abc\r\n\r\n",
		"not HTTP":        "SSH-2.0-OpenSSH_9.6\r\n",
		"nothing":         "",
		"half the header": "HTTP/1.1 200 OK\r\nX-A",
	}
}

// wire is a server that answers every connection's one request with the same
// bytes and keeps the bytes it was sent.
type wire struct {
	answer string
	sent   chan []byte
}

func (s *wire) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go s.serveConn(conn)
	}
}

func (s *wire) serveConn(conn net.Conn) {
	defer conn.Close()
	var raw bytes.Buffer
	r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &raw)))
	if err == nil {
		if r.Header.Get("Expect") != "" {
			io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		io.Copy(io.Discard, r.Body)
	}
	s.sent <- raw.Bytes()
	io.WriteString(conn, s.answer)
}

func (w *clientWorld) serveWire() *wire {
	s := &wire{sent: make(chan []byte, 16)}
	w.listen(func(n *Network) {
		for _, addr := range []string{serviceAddr, serviceNumeric} {
			l, err := n.Listen(addr)
			if err != nil {
				w.t.Fatalf("listening: %v", err)
			}
			w.t.Cleanup(func() { l.Close() })
			go s.serve(l)
		}
	})
	return s
}

func sameRequestBytes(t testing.TB, w *clientWorld) {
	s := w.serveWire()
	s.answer = responseCorpus()["length"]
	for _, name := range slices.Sorted(maps.Keys(requestCorpus())) {
		var sent [2]string
		for i, rt := range []http.RoundTripper{w.base, w.wrapped} {
			resp, err := rt.RoundTrip(requestCorpus()[name](w))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			resp.Body.Close()
			sent[i] = string(<-s.sent)
		}
		if sent[0] != sent[1] {
			t.Errorf("%s: with the wrap the server was sent\n%q\nwithout it\n%q", name, sent[1], sent[0])
		}
	}
}

func sameResponseBytes(t testing.TB, w *clientWorld) {
	s := w.serveWire()
	for _, name := range slices.Sorted(maps.Keys(responseCorpus())) {
		s.answer = responseCorpus()[name]
		for _, method := range []string{"GET", "HEAD", "POST"} {
			var got [2]string
			for i, rt := range []http.RoundTripper{w.base, w.wrapped} {
				got[i] = describeCall(rt, w.request(method, "/", nil))
				for drained := false; !drained; {
					select {
					case <-s.sent: // more than one if somebody tried again
					default:
						drained = true
					}
				}
			}
			if got[0] != got[1] {
				t.Errorf("%s after %s: with the wrap the caller gets\n%s\nwithout it\n%s", name, method, got[1], got[0])
			}
		}
	}
}

// describeCall makes a call and returns all its caller can see, except for the
// text of an error, to which a wrapper may add.
func describeCall(rt http.RoundTripper, r *http.Request) string {
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return "an error"
	}
	defer resp.Body.Close()
	return describeResponse(resp)
}

func describeResponse(resp *http.Response) string {
	var b strings.Builder
	fmt.Fprintf(&b, "status %q %d, %s %d.%d, length %d, encoding %q, close %v, uncompressed %v, TLS %v\n",
		resp.Status, resp.StatusCode, resp.Proto, resp.ProtoMajor, resp.ProtoMinor,
		resp.ContentLength, resp.TransferEncoding, resp.Close, resp.Uncompressed, resp.TLS != nil)
	fmt.Fprintf(&b, "header %v\n", resp.Header)
	body, err := io.ReadAll(resp.Body)
	fmt.Fprintf(&b, "body %q, failed %v\ntrailer %v\n", body, err != nil, resp.Trailer)
	return b.String()
}

func sameRequests(t testing.TB, w *clientWorld) {
	arrived := make(chan string, 1)
	w.serve(func(_ http.ResponseWriter, r *http.Request) { arrived <- describeRequest(r) })
	for _, name := range slices.Sorted(maps.Keys(requestCorpus())) {
		var seen [2]string
		for i, rt := range []http.RoundTripper{w.base, w.wrapped} {
			resp, err := rt.RoundTrip(requestCorpus()[name](w))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			resp.Body.Close()
			select {
			case seen[i] = <-arrived:
			default: // net/http answers some requests itself
			}
		}
		if seen[0] != seen[1] {
			t.Errorf("%s: with the wrap the server sees\n%s\nwithout it\n%s", name, seen[1], seen[0])
		}
	}
}

// describeRequest returns all that a handler can see of a request, except for
// the connection it came on.
func describeRequest(r *http.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q (%s) %s, host %q, length %d, encoding %q, close %v, TLS %v\n",
		r.Method, r.RequestURI, r.URL, r.Proto, r.Host, r.ContentLength, r.TransferEncoding, r.Close, r.TLS != nil)
	fmt.Fprintf(&b, "header %v\n", r.Header)
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(&b, "body %q, failed %v\ntrailer %v\n", body, err != nil, r.Trailer)
	return b.String()
}
